-- SPDX-License-Identifier: MIT
--
-- builtin: one line of help for every function and method that is written in C and is no op: name, arguments, text.
-- A test checks that none is missing.

local builtin <const> = {}

--- Below la.
builtin.functions = {
  { "tensor", "(table[, dtype])", "a tensor from a number or nested tables; dtype is float32, int32 or uint8" },
  { "from_bytes", "(string, dtype, shape)", "a tensor from raw little-endian elements, row-major" },
  { "is_tensor", "(value)", "whether value is a tensor" },
  { "is_alive", "(tensor)", "false once the scope that it was made in has released it" },
  { "set_tostring", "(fn)", "fn(tensor) is what tostring and print show of tensors" },
  { "fuse", "(expression[, names])",
    "fn(x, s, b) for \"max(x * s + b, 0)\": one kernel, gradients derived; operands are tensors or numbers" },
  { "op_list", "()", "the descriptors of all ops, as tables; la.ops() is the same" },
  { "no_grad", "(fn, ...)", "fn(...) with no gradients recorded" },
  { "enable_grad", "(fn, ...)", "fn(...) with gradients recorded, also inside no_grad" },
  { "grad_enabled", "()", "whether gradients are recorded" },
  { "set_grad_enabled", "(on)", "switches recording; returns what it was. no_grad is safer" },
  { "scope", "(fn, ...)", "fn(...); tensors made inside are released at its end, except its results" },
  { "keep", "(...)", "takes tensors, also those in tables, out of all scopes" },
  { "device.list", "()", "all devices, as tables" },
  { "device.use", "(which)", "the device for what follows: number, part of a name, type, or nil for the default" },
  { "device.choose", "([which])", "the number of the device that would be opened; opens nothing" },
  { "device.info", "()", "the current device, as a table" },
  { "device.is_open", "()", "whether a device was opened" },
  { "device.memory", "()", "bytes: used, peak, pooled, budget; and the number of allocations" },
  { "device.builds", "()", "list of { program, options, seconds, error }: the programs compiled so far" },
  { "device.kind", "()", "type and width of float vectors, such as cpu16: what the choice of kernels goes by" },
  { "device.programs", "()", "list of { program, options, entry }: the programs that the device has been asked for" },
  { "device.want", "(list)", "says that such programs will be needed: they are built meanwhile" },
  { "device.reset_peak", "()", "starts the peak of memory again from what is used now" },
  { "device.finish", "()", "waits until all queued work is done" },
  { "device.profile", "(on)", "times every kernel; device.profile_rows() gives the table" },
  { "device.profile_rows", "()", "list of { kernel, calls, seconds, bytes, flops }, slowest first" },
  { "device.profile_reset", "()", "forgets what was profiled" },
  { "device.peak", "([repeats = 5])", "floating-point operations per second that a probe kernel reaches" },
  { "device.clock", "()", "seconds of real time since some fixed moment" },
  { "device.seed", "(seed[, counter])", "seeds the device's random numbers; la.seed(n) seeds Lua's too" },
  { "device.seed_state", "()", "seed and counter: the whole state of the device's random numbers" },
  { "image.load", "(path[, options])", "a picture (H, W, 3): uint8, or float32 if resized; ?image says more" },
  { "image.info", "(path)", "width and height, from the file's head" },
  { "image.save", "(path, picture[, { quality = 92 }])", "writes a .png, .jpg or .bmp, whole or not at all" },
  { "io.image_load", "(path[, options])", "as image.load" },
  { "io.image_info", "(path)", "as image.info" },
  { "io.image_save", "(path, picture[, options])", "as image.save" },
  { "io.loader", "({ threads = n, ahead = n })", "decodes pictures ahead: submit, next, batch, pending, close" },
  { "io.safetensors_load", "(path)", "tensors by name, texts by key, list of names; io.load_safetensors is the same" },
  { "io.elements", "(path, offset, type, shape)", "a tensor of the elements from a byte of a file on: F32, I64, ..." },
  { "io.safetensors_save", "(path, names, tensors, keys, values)", "from lists; io.save_safetensors takes tables" },
  { "io.read_file", "(path)", "its bytes" },
  { "io.write_file", "(path, bytes)", "writes a file, whole or not at all" },
  { "io.mkdirs", "(path)", "makes a folder and its parents" },
  { "io.exists", "(path)", "file, folder or other; nil if there is nothing" },
  { "io.json_parse", "(text, what, marker)", "a value from JSON; io.json_decode(text) is the plain form" },
  { "io.canvas", "(width, height[, colour]) or (picture)", "a canvas to draw on; canvas:tensor() gives the picture" },
  { "io.text_size", "(text[, scale])", "width and height in pixels of what canvas:text draws" },
}

--- Methods of tensors.
builtin.methods = {
  { "totable", "()", "nested tables, or a number for a tensor without dimensions" },
  { "flat", "()", "one list of all elements, row-major" },
  { "bytes", "()", "the elements as a string, little-endian, row-major" },
  { "item", "()", "the number in a tensor of one element; waits for the device" },
  { "shape", "()", "list of sizes" },
  { "size", "([d])", "the size of dimension d, or the list of all" },
  { "dim", "()", "number of dimensions" },
  { "numel", "()", "number of elements" },
  { "is_contiguous", "()", "whether the elements lie in memory one after the other" },
  { "backward", "([gradient])", "adds d(t)/d(leaf) to the gradient of every leaf that t depends on; frees the graph" },
  { "detach", "()", "the same elements outside the graph" },
  { "clone", "()", "a dense copy outside the graph" },
  { "requires_grad_", "(on = true)", "asks for a gradient of this leaf" },
  { "set_grad", "(g)", "sets or, with nil, clears the gradient" },
  { "write", "(string)", "overwrites all elements from raw bytes" },
  { "same", "(u)", "whether both are one tensor" },
  { "release", "()", "gives the memory back now" },
}

return builtin

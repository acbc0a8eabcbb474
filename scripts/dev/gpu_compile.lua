-- SPDX-License-Identifier: MIT
--
-- lua5.4 scripts/dev/gpu_compile.lua ROOT [--write FILE] [PROGRAM...]: compiles the kernels for graphics processors
-- without having one. clang with libclc makes PTX of them, which ptxas (of CUDA) assembles for sm_75, sm_80 and sm_90,
-- and code for gfx900, gfx1030 and gfx90a. Prints registers, spilled bytes, local memory and how many work-groups fit a
-- multiprocessor; ends with status 1 where something does not compile or spills on sm_80 or sm_90, with 77 (skipped)
-- where clang or libclc is missing. --write keeps the table as cl/registers.md.

local TILES <const> = { "-DTM=64 -DTN=64 -DTK=16", "-DTM=128 -DTN=64 -DTK=16", "-DTM=128 -DTN=128 -DTK=8" }

-- What each program is built with on a GPU, where that is not nothing; false where it is never used there.
local BUILDS <const> = {
  conv2d_bf16 = false,
  conv2d_depthwise = false,
  conv2d_narrow = false,
  inverted = false,
  conv2d_gpu = TILES,
  conv2d_sweep = { "", "-DV=4" },
  conv2d_weight = { "", "-DV=4" },
  matmul_cpu = false,
  matmul_gpu = TILES,
  matmul_mma = { "-DTF32", "-DBF16" },
  probe = { "-DACC=2" },
  winograd = { "-DTILE=2 -DLANES=1", "-DTILE=4 -DLANES=1" },
  winograd_weight = { "-DTILE=2 -DLANES=1", "-DTILE=4 -DLANES=1" },
}

-- Programs that are for NVIDIA's cards from some on only.
local TENSOR_CORES <const> = { matmul_mma = true }

local NVIDIA <const> = { "sm_75", "sm_80", "sm_90" }
local AMD <const> = { "gfx900", "gfx1030", "gfx90a" }
local STRICT <const> = { sm_80 = true, sm_90 = true }

-- Of a multiprocessor: bytes of shared memory, bytes that each work-group costs besides, work-items, work-groups.
local LIMITS <const> = {
  sm_75 = { shared = 65536, own = 0, items = 1024, groups = 16 },
  sm_80 = { shared = 167936, own = 1024, items = 2048, groups = 32 },
  sm_90 = { shared = 233472, own = 1024, items = 2048, groups = 32 },
}
local REGISTERS <const> = 65536

local HEADING <const> = [[
# What the kernels need on a graphics processor

Written by `lua5.4 scripts/dev/gpu_compile.lua . --write cl/registers.md`, which fails where a kernel spills on sm_80 or
sm_90. Registers per work-item, in brackets the work-groups that one multiprocessor holds at a time; bytes of local
("shared") memory per work-group. Compiled by %s, assembled by ptxas %s; the
makers' own OpenCL compilers will differ a little.

]]

local work <const> = os.getenv("TMPDIR") or "/tmp"
local stem <const> = ("%s/lualign-gpu-%d-%d"):format(work, os.time(), math.random(1 << 30))
local library <const> = "/usr/lib/clc/"

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Runs a command: whether it succeeded, and all it printed.
local function run(command)
  local pipe <const> = assert(io.popen(command .. " 2>&1"))
  local text <const> = pipe:read "a"
  return (pipe:close()) == true, text
end

local function read(path)
  local f <const> = assert(io.open(path))
  local text <const> = f:read "a"
  f:close()
  return text
end

local function write_file(path, text)
  local f <const> = assert(io.open(path, "w"))
  f:write(text)
  f:close()
end

local function clang_line(clang, target, source, out, options)
  return table.concat({
    clang, "-x cl -cl-std=CL1.2 -O3 -Wno-linker-warnings -nogpulib", "--target=" .. target.triple, target.cpu,
    "-Xclang -mlink-builtin-bitcode -Xclang", library .. target.bitcode, options, "-S -o", quote(out), quote(source),
  }, " ")
end

local PTX <const> = { triple = "nvptx64--nvidiacl", cpu = "-march=sm_75", bitcode = "nvptx64--nvidiacl.bc" }
local PTX_80 <const> = { triple = PTX.triple, bitcode = PTX.bitcode,
                         cpu = "-march=sm_80 -Xclang -target-feature -Xclang +ptx71" }

local function amd_target(name)
  return { triple = "amdgcn--amdhsa", cpu = "-mcpu=" .. name, bitcode = "amdgcn--amdhsa.bc" }
end

-- The first clang that can read the installed libclc, or nil.
local function find_clang()
  local trial <const>, out <const> = stem .. ".cl", stem .. ".s"
  write_file(trial, "__kernel void k(__global float *y) { y[get_global_id(0)] = exp(y[0]); }\n")
  local names <const> = { "clang" }
  for version = 14, 25 do
    names[#names + 1] = "clang-" .. version
  end
  for _, name in ipairs(names) do
    if run(clang_line(name, PTX, trial, out, "")) then
      return name
    end
  end
end

-- { [kernel] = { registers, spill, stack, shared } } of what ptxas -v says.
local function parse_ptxas(text)
  local found <const> = {}
  local name -- of the kernel; functions that it calls have their own lines, which count as its own
  for line in text:gmatch "[^\n]+" do
    local function number(pattern)
      return tonumber(line:match(pattern)) or 0
    end
    local entry <const> = line:match "Compiling entry function '([%w_]+)'"
    if entry then
      name = entry
      found[name] = { stack = 0, spill = 0 }
    elseif line:find "bytes spill stores" then
      local use <const> = found[name]
      use.stack = use.stack + number "(%d+) bytes stack"
      use.spill = use.spill + number "(%d+) bytes spill stores" + number "(%d+) bytes spill loads"
    elseif line:find "Used %d+ registers" then
      found[name].registers = number "Used (%d+) registers"
      found[name].shared = number "(%d+) bytes smem"
    end
  end
  return found
end

-- The same of the metadata at the end of clang's assembler for AMD.
local function parse_amd(text)
  local found <const> = {}
  for kernel in text:match("amdhsa.kernels:(.*)"):gmatch "%.group_segment_fixed_size.-%.wavefront_size" do
    local function number(key)
      return tonumber(kernel:match("%." .. key .. ":%s*(%d+)")) or 0
    end
    found[kernel:match "\n    %.name:%s*([%w_]+)"] = {
      registers = number "vgpr_count", spill = 4 * number "vgpr_spill_count",
      shared = tonumber(kernel:match ":%s*(%d+)"), stack = number "private_segment_fixed_size",
    }
  end
  return found
end

-- Work-items of a group by kernel, where the kernel says: clang tells them for AMD.
local function group_sizes(text)
  local sizes <const> = {}
  for kernel in text:match("amdhsa.kernels:(.*)"):gmatch "%.group_segment_fixed_size.-%.wavefront_size" do
    local x <const>, y <const>, z <const> = kernel:match "reqd_workgroup_size:%s*%- (%d+)%s*%- (%d+)%s*%- (%d+)"
    sizes[kernel:match "\n    %.name:%s*([%w_]+)"] = x and { x, y, z } or nil
  end
  return sizes
end

-- PTX with the sizes, which clang leaves out there.
local function with_sizes(ptx, sizes)
  return (ptx:gsub("(%.entry ([%w_]+)%b())", function(head, name)
    local size <const> = sizes[name]
    return size and ("%s\n.reqntid %s"):format(head, table.concat(size, ", ")) or nil
  end))
end

-- Work-groups that a multiprocessor holds at a time.
local function occupancy(card, use, size)
  local limit <const> = LIMITS[card]
  local warps <const> = ((size and size[1] * size[2] * size[3] or 128) + 31) // 32 -- 128: what la__launch takes
  local per_warp <const> = (math.max(use.registers, 16) + 7) // 8 * 8 * 32
  local shared <const> = use.shared + limit.own
  return math.floor(math.min(REGISTERS // per_warp // warps, shared > 0 and limit.shared / shared or 99,
    limit.items // (warps * 32), limit.groups))
end

local failures <const>, rows <const> = {}, {}

local function fail(...)
  failures[#failures + 1] = string.format(...)
  print("gpu_compile: " .. failures[#failures])
end

local function first_lines(text)
  return (text:match "^(.-\n.-\n.-\n.-)\n" or text):sub(1, 800)
end

local function add(program, options, card, found, sizes)
  for name, use in pairs(found) do
    if name:find "_cpu$" then -- never runs there
      goto continue
    end
    rows[#rows + 1] = { program = program, options = options, card = card, name = name, use = use,
                        groups = sizes and occupancy(card, use, sizes[name]) }
    if use.spill > 0 and STRICT[card] then
      fail("%s of %s %s spills %d bytes on %s", name, program, options, use.spill, card)
    end
    ::continue::
  end
end

local function compile(tools, root, program, options)
  local source <const> = ("%s/cl/%s.cl"):format(root, program)
  local ptx <const>, out <const> = stem .. ".ptx", stem .. ".out"
  local new <const> = TENSOR_CORES[program]
  local good, text
  local sizes = {}
  for _, card in ipairs(new and {} or AMD) do
    good, text = run(clang_line(tools.clang, amd_target(card), source, out, options))
    if not good then
      return fail("%s %s does not compile for %s: %s", program, options, card, first_lines(text))
    end
    sizes = group_sizes(read(out))
    add(program, options, card, parse_amd(read(out)))
  end
  good, text = run(clang_line(tools.clang, new and PTX_80 or PTX, source, ptx, options))
  if not good then
    return fail("%s %s does not become PTX: %s", program, options, first_lines(text))
  end
  if new then
    sizes.matmul_fwd_mma = { 16, 16, 1 }
  end
  write_file(ptx, with_sizes(read(ptx), sizes))
  for _, card in ipairs(tools.ptxas and NVIDIA or {}) do
    if new and not STRICT[card] then
      goto continue
    end
    good, text = run(("%s -v -arch=%s -o %s %s"):format(tools.ptxas, card, quote(out), quote(ptx)))
    if good then
      add(program, options, card, parse_ptxas(text), sizes)
    else
      fail("%s %s: ptxas for %s: %s", program, options, card, first_lines(text))
    end
    ::continue::
  end
end

-- One line per kernel and build; per card "registers", with what is unusual behind: spills, private memory.
local function table_lines()
  local lines <const>, cards <const> = {}, {}
  table.move(NVIDIA, 1, #NVIDIA, 1, cards)
  table.move(AMD, 1, #AMD, #cards + 1, cards)
  lines[1] = "| kernel | build | shared bytes | " .. table.concat(cards, " | ") .. " |"
  lines[2] = "| --- | --- | ---: |" .. (" ---: |"):rep(#cards)
  local kernels <const>, order <const> = {}, {}
  for _, row in ipairs(rows) do
    local key <const> = table.concat({ row.program, row.options, row.name }, "\0")
    if not kernels[key] then
      kernels[key] = { row = row }
      order[#order + 1] = key
    end
    local use <const> = row.use
    kernels[key][row.card] = ("%d%s%s%s"):format(use.registers, row.groups and (" (%d)"):format(row.groups) or "",
      use.spill > 0 and (", spills %d"):format(use.spill) or "",
      use.stack > 0 and (", stack %d"):format(use.stack) or "")
  end
  table.sort(order)
  for _, key in ipairs(order) do
    local k <const> = kernels[key]
    local cells <const> = {}
    for i, card in ipairs(cards) do
      cells[i] = k[card] or "-"
    end
    lines[#lines + 1] = ("| %s | %s | %d | %s |"):format(k.row.name,
      k.row.options == "" and "" or "`" .. k.row.options .. "`", k.row.use.shared, table.concat(cells, " | "))
  end
  return lines
end

local function programs(root)
  local names <const> = {}
  local _, listing <const> = run("ls " .. quote(root .. "/cl"))
  for name in listing:gmatch "([%w_]+)%.cl\n" do
    names[#names + 1] = name
  end
  return names
end

local function main(root, ...)
  local wanted <const>, write = {}, nil
  local words <const> = { ... }
  while #words > 0 do
    local word <const> = table.remove(words, 1)
    if word == "--write" then
      write = table.remove(words, 1)
    else
      wanted[#wanted + 1] = word
    end
  end
  local tools <const> = { clang = find_clang() }
  if not tools.clang then
    print "gpu_compile: skipped, no clang with a libclc that it can read (packages clang and libclc-14 or later)"
    return 77
  end
  for _, path in ipairs { "ptxas", "/usr/local/cuda/bin/ptxas" } do
    tools.ptxas = tools.ptxas or (run(path .. " --version") and path) or nil
  end
  if not tools.ptxas then
    print "gpu_compile: no ptxas (it comes with CUDA): PTX is made but not assembled, no registers for NVIDIA"
  end
  for _, program in ipairs(#wanted > 0 and wanted or programs(root)) do
    local builds <const> = BUILDS[program]
    for _, options in ipairs(builds or (builds == nil and { "" } or {})) do
      compile(tools, root, program, options)
    end
  end
  local lines <const> = table_lines()
  print(table.concat(lines, "\n"))
  if write then
    local _, version <const> = run(tools.clang .. " --version")
    local _, assembler <const> = run((tools.ptxas or "true") .. " --version")
    write_file(write, HEADING:format(version:match "[^\n]*", assembler:match "release ([%d.]+)" or "(none)")
      .. table.concat(lines, "\n") .. "\n")
  end
  print(("gpu_compile: %d kernels and builds, %d failures"):format(#lines - 2, #failures))
  return #failures > 0 and 1 or 0
end

local done <const>, code <const> = xpcall(main, debug.traceback, ...)
for _, ending in ipairs { ".cl", ".s", ".ptx", ".out" } do
  os.remove(stem .. ending)
end
if not done then
  io.stderr:write(code, "\n")
end
os.exit(done and code or 1)

-- SPDX-License-Identifier: MIT
--
-- build/lualign scripts/dev/check_docs.lua [ROOT]: that everything public is documented and every op tested. Prints
-- what is not, one line each, and ends with status 1 if there was any.
--
--   each op: a brief, an example that parses and calls it, a text for every parameter, a spec that calls it, with a
--            gradcheck if the op has gradients
--   each public function and method of a Lua module: a comment above it
--   each script of scripts/: a usage text
--   each code block of a page that names a file: the same as the file, or a part of it

local la <const> = require "lualign"
local lfs <const> = require "lfs"

local root <const> = arg[1] or "."

local complaints = 0
local function complain(...)
  print(string.format(...))
  complaints = complaints + 1
end

local function read(path)
  local file <close> = assert(io.open(root .. "/" .. path, "rb"))
  return (file:read "a":gsub("\r\n", "\n"))
end

local function files_below(folder, pattern, found)
  found = found or {}
  if lfs.attributes(root .. "/" .. folder, "mode") == "directory" then
    for name in lfs.dir(root .. "/" .. folder) do
      local path <const> = folder .. "/" .. name
      if name:sub(1, 1) ~= "." then
        if lfs.attributes(root .. "/" .. path, "mode") == "directory" then
          files_below(path, pattern, found)
        elseif name:find(pattern) then
          found[#found + 1] = path
        end
      end
    end
  end
  table.sort(found)
  return found
end

local function blank(text)
  return not text or not text:find "%S"
end

-- ---- ops ----

local specs <const> = {}
for _, path in ipairs(files_below("tests/ops", "_spec%.lua$")) do
  specs[#specs + 1] = read(path)
end

-- Whether a text calls the op: la.op, t:op( or its name as a string or a key, as table-driven specs write it.
local function names(text, op)
  return text:find("la%." .. op .. "%f[^%w_]") or text:find(":" .. op .. "%f[^%w_]")
    or text:find('"' .. op .. '"', 1, true) or text:find("\n  " .. op .. " = ", 1, true)
end

local function check_op(op)
  if blank(op.brief) then
    complain("op %s: no brief", op.name)
  end
  if blank(op.example) then
    complain("op %s: no example", op.name)
  else
    local chunk <const>, message = load(op.example, "=example")
    if not chunk then
      complain("op %s: the example does not parse: %s", op.name, message)
    elseif not names(op.example, op.name) and not op.example:find "[-+*/^]" then
      complain("op %s: the example does not call it: %s", op.name, op.example)
    end
  end
  for _, p in ipairs(op.params) do
    if blank(p.brief) then
      complain("op %s: parameter %s has no text", op.name, p.name)
    end
  end
  local tested, checked = false, false
  for _, text in ipairs(specs) do
    if names(text, op.name) then
      tested = true
      checked = checked or text:find "gradcheck" ~= nil or text:find "grad = " ~= nil
    end
  end
  if not tested then
    complain("op %s: no spec in tests/ops calls it", op.name)
  elseif op.differentiable and not checked then
    complain("op %s: has gradients, and no spec that calls it runs gradcheck", op.name)
  end
end

local ops <const> = la.ops()
for _, op in ipairs(ops) do
  check_op(op)
end
if #ops == 0 then
  complain "no ops"
end

-- ---- Lua modules ----

-- What every class of its kind has, explained once: modules (lua/lualign/nn/module.lua), data sets (data/init.lua).
local interface <const> = {
  init = true, forward = true, extra = true, length = true, batch = true, prefetch = true,
}

-- Public are methods, and functions of the table that the file returns; names that start with an underscore are not.
for _, path in ipairs(files_below("lua", "%.lua$")) do
  local text <const> = read(path)
  local returned <const> = text:match "\nreturn setmetatable%(([%w_]+)" or text:match "\nreturn ([%w_]+)%s*$"
  local previous, number = "", 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    local owner <const>, separator <const>, name <const> = line:match "^function ([%w_.]-)([.:])(%a[%w_]*)%s*%("
    local public <const> = separator == ":" and not interface[name] or separator == "." and owner == returned
    if public and not previous:find "^%s*%-%-" then
      complain("%s:%d: %s has no comment above it", path, number, name)
    end
    previous = line
  end
end

-- ---- scripts ----

for _, path in ipairs(files_below("scripts", "%.lua$")) do
  local name <const> = path:match "^scripts/([%w_]+)%.lua$"
  local head <const> = name and read(path):sub(1, 2000)
  if head and not head:find('cli.parser("' .. name .. '", "', 1, true) then
    complain("%s: has no usage text: cli.parser(\"%s\", \"...\")", path, name)
  end
end

-- ---- pages ----

-- ```lua file=tests/readme/train.lua ... ``` must be in that file, letter for letter.
for _, path in ipairs { "README.md", "CONTRIBUTING.md" } do
  if lfs.attributes(root .. "/" .. path) then
    for file, body in read(path):gmatch "\n```%w+ file=(%S+)\n(.-)```" do
      if not lfs.attributes(root .. "/" .. file) then
        complain("%s: shows %s, which is not there", path, file)
      elseif not read(file):find(body, 1, true) then
        complain("%s: its copy of %s is not what the file says", path, file)
      end
    end
  end
end

if complaints > 0 then
  print(("check_docs: %d complaints"):format(complaints))
  os.exit(1)
end
print(("check_docs: %d ops, all documented and tested"):format(#ops))

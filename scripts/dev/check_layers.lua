-- SPDX-License-Identifier: MIT
--
-- lua5.4 scripts/dev/check_layers.lua [ROOT]: that the source keeps to its layers and sizes. Prints what does not, one
-- line each as file:line: text, and ends with status 1 if there was any.
--
-- Layers: util < device < tensor < ops < grad < lua < cli, each including only itself and what is to its left; io
-- stands on tensor; mat is a Lua module of its own. OpenCL stays in device, Lua in lua, cli and mat. Kernels include
-- common.clh, first, and nothing else.

local lfs <const> = require "lfs"

local root <const> = arg[1] or "."
local MAX_FILE <const> = 500 -- lines
local MAX_FUNCTION <const> = 60 -- lines, C only

local sees <const> = {
  include = {},
  util = { "include" },
  device = { "include", "util" },
  tensor = { "include", "util", "device" },
  io = { "include", "util", "device", "tensor" },
  ops = { "include", "util", "device", "tensor" },
  grad = { "include", "util", "device", "tensor", "ops" },
  lua = { "include", "util", "device", "tensor", "ops", "grad", "io" },
  cli = { "include", "util", "device", "tensor", "ops", "grad", "io", "lua" },
  mat = {}, -- a module of its own
}

-- Headers from outside that belong to some layers only, by the start of their names.
local outside <const> = {
  { "CL/", "OpenCL", { "device" } },
  { "clblast", "CLBlast", { "device" } },
  { "lua", "Lua", { "lua", "cli", "mat" } },
  { "lauxlib", "Lua", { "lua", "cli", "mat" } },
  { "readline/", "readline", { "cli" } },
  { "stb/", "stb", { "io" } },
  { "matio", "libmatio", { "mat" } },
  { "zlib.h", "zlib", { "mat" } },
  { "cjson/", "cJSON", { "io" } },
}

local complaints = 0
local function complain(file, line, ...)
  print(("%s:%d: %s"):format(file, line, string.format(...)))
  complaints = complaints + 1
end

local function contains(list, value)
  for _, v in ipairs(list) do
    if v == value then
      return true
    end
  end
  return false
end

-- Calls visit(path relative to root) for every file below `folder` whose name ends in one of the extensions.
local function walk(folder, extensions, visit)
  local names = {}
  if lfs.attributes(root .. "/" .. folder, "mode") ~= "directory" then
    return
  end
  for name in lfs.dir(root .. "/" .. folder) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local path <const> = folder .. "/" .. name
    if name:sub(1, 1) ~= "." then
      if lfs.attributes(root .. "/" .. path, "mode") == "directory" then
        walk(path, extensions, visit)
      elseif contains(extensions, name:match("%.(%w+)$")) then
        visit(path)
      end
    end
  end
end

local function lines_of(path)
  local lines = {}
  for line in io.lines(root .. "/" .. path) do
    lines[#lines + 1] = line
  end
  return lines
end

local function check_size_and_licence(path, lines)
  if #lines > MAX_FILE then
    complain(path, #lines, "%d lines, at most %d", #lines, MAX_FILE)
  end
  local shown <const> = path:find "^tests/readme/" -- the README shows these whole
  if not shown and not ((lines[1] or "") .. (lines[2] or "")):find("SPDX-License-Identifier: MIT", 1, true) then
    complain(path, 1, "no SPDX line")
  end
  for i, line in ipairs(lines) do
    if utf8.len(line) and utf8.len(line) > 120 then
      complain(path, i, "%d columns, at most 120", utf8.len(line))
    end
  end
end

-- A C function's body is between a brace and a closing brace in column 1.
local function check_functions(path, lines)
  local start, head
  for i, line in ipairs(lines) do
    if line == "{" then
      start, head = i, lines[i - 1]
    elseif line == "}" and start then
      if i - start - 1 > MAX_FUNCTION then
        complain(path, start, "function of %d lines, at most %d: %s", i - start - 1, MAX_FUNCTION, head)
      end
      start = nil
    end
  end
end

local function check_include(path, line, layer, name, system)
  for _, rule in ipairs(outside) do
    if (system or not name:find("/")) and name:sub(1, #rule[1]) == rule[1] and name ~= "lualign.h"
      and name ~= "lua_util.h" and not contains(rule[3], layer) then
      complain(path, line, "%s includes <%s>: %s stays in %s", layer, name, rule[2], table.concat(rule[3], " and "))
    end
  end
  if system then
    return
  end
  local target = name:match("^(%w+)/")
  if name == "lualign.h" then
    target = "include"
  elseif not target then
    target = layer -- a header beside the file
  end
  if not sees[target] then
    complain(path, line, "includes \"%s\", which is in no layer", name)
  elseif target ~= layer and not contains(sees[layer], target) then
    complain(path, line, "%s includes \"%s\": it sees only %s", layer, name, table.concat(sees[layer], ", "))
  end
end

walk("src", { "c", "h" }, function(path)
  local lines <const> = lines_of(path)
  local layer <const> = path:match("^src/(%w+)/")
  check_size_and_licence(path, lines)
  check_functions(path, lines)
  if not sees[layer] then
    complain(path, 1, "in no layer")
    return
  end
  for i, line in ipairs(lines) do
    local open <const>, name <const> = line:match('^%s*#%s*include%s*(["<])([^">]+)[">]')
    if open then
      check_include(path, i, layer, name, open == "<")
    end
  end
end)

walk("cl", { "cl", "clh" }, function(path)
  local lines <const> = lines_of(path)
  check_size_and_licence(path, lines)
  local includes = 0
  for i, line in ipairs(lines) do
    local name <const> = line:match('^%s*#%s*include%s*["<]([^">]+)[">]')
    if name then
      includes = includes + 1
      if name ~= "common.clh" or path:find("%.clh$") then
        complain(path, i, "kernels include common.clh and nothing else, not %s", name)
      end
    elseif includes == 0 and path:find("%.cl$") and line:find("^%s*__kernel") then
      complain(path, i, "common.clh must be included before the first kernel")
      includes = 1
    end
  end
end)

for _, folder in ipairs { "lua", "scripts", "tests" } do
  walk(folder, { "lua", "c" }, function(path)
    local lines <const> = lines_of(path)
    check_size_and_licence(path, lines)
    if path:find("%.c$") then
      check_functions(path, lines)
    end
  end)
end

if complaints > 0 then
  print(("check_layers: %d complaints"):format(complaints))
  os.exit(1)
end
print "check_layers: layers, includes, sizes and licence lines are as they should be"

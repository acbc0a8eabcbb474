-- SPDX-License-Identifier: MIT
--
-- lualign.kernels: which programs some work will need, so that on a first run they are compiled side by side and not
-- one after another as the work comes to them. A list is a hint: what it has too much is compiled in vain, what it
-- lacks when needed. `lualign prebuild --record DIR` writes lists, DIR/<kind of device>/<trunk>-<work>.tsv.
--
--   kernels.want(model, "train")     -- or "align"; at once, and for nothing where no list is

local la <const> = require "lualign"

local kernels <const> = {}

--- The trunk's name, of a model or of features; nil if it says none.
function kernels.trunk_of(model)
  local trunks <const> = model and model.config and model.config.trunks
  return trunks and trunks[1] and trunks[1].kind
end

--- Reads a list: { { program, options, entry }, ... }; nil if there is none.
function kernels.read(name)
  local path <const> = package.searchpath("lualign.kernels." .. name, (package.path:gsub("%?%.lua", "?.tsv")))
  local file <close> = path and io.open(path)
  if not file then
    return nil
  end
  local list <const> = {}
  for line in file:lines() do
    local program <const>, options <const>, entry <const> = line:match "^([%w_]+)\t([^\t]*)\t([%w_]*)$"
    list[#list + 1] = program and { program, options, entry } or nil
  end
  return list
end

--- Writes the list of what this process's device has run into a folder: what took longest to compile first, if this
-- process compiled it, so that no core is left with a long one at the end.
function kernels.record(folder, name)
  local programs <const>, seconds <const>, lines <const> = la.device.programs(), {}, {}
  for _, b in ipairs(la.device.builds()) do
    local key <const> = b.program .. "\t" .. b.options
    seconds[key] = math.max(seconds[key] or 0, b.seconds)
  end
  for i, p in ipairs(programs) do
    p.place, p.seconds = i, seconds[p[1] .. "\t" .. p[2]] or 0
  end
  table.sort(programs, function(a, b)
    if a.seconds ~= b.seconds then
      return a.seconds > b.seconds
    end
    return a.place < b.place
  end)
  for i, p in ipairs(programs) do
    lines[i] = table.concat(p, "\t") .. "\n"
  end
  la.io.mkdirs(folder .. "/" .. la.device.kind())
  la.io.write_file(string.format("%s/%s/%s.tsv", folder, la.device.kind(), name), table.concat(lines))
end

--- Begins to compile what `work` with that model needs.
function kernels.want(model, work)
  local trunk <const> = kernels.trunk_of(model)
  local list <const> = trunk and kernels.read(la.device.kind() .. "." .. trunk .. "-" .. work)
  if list then
    la.device.want(list)
  end
end

return kernels

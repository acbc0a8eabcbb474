-- SPDX-License-Identifier: MIT
--
-- How a tensor prints: a line with type and shape, then its values, or the values at its edges. Only what is shown is
-- copied from the device.

local core <const> = require "lualign.core"

local EDGE <const> = 3       -- elements shown at each end of a long dimension
local LONGEST <const> = 8    -- a dimension up to this long is shown whole
local MOST <const> = 200     -- a tensor with fewer elements than this and no long row is shown whole

local function shape_text(shape)
  return "(" .. table.concat(shape, ", ") .. ")"
end

-- The corners of t: each long dimension cut down to its ends. Returns the small tensor and which dimensions were cut.
local function corners(t)
  local cut <const> = {}
  local shape <const> = t:shape()
  for d, n in ipairs(shape) do
    local longest <const> = d == #shape and LONGEST or 2 * EDGE
    if n > longest then
      cut[d] = true
      t = core.cat({ t:narrow(d, 1, EDGE), t:narrow(d, n - EDGE + 1, EDGE) }, d)
    end
  end
  return t, cut
end

local function number_format(t, values)
  if t.dtype ~= "float32" then
    return "%d", nil
  end
  local largest, smallest = 0, math.huge
  for _, v in ipairs(values) do
    local a <const> = math.abs(v)
    if a == a and a < math.huge and a > 0 then
      largest, smallest = math.max(largest, a), math.min(smallest, a)
    end
  end
  if largest == 0 then
    return "%.4f"
  end
  return (largest >= 1e5 or smallest < 1e-4 and largest < 1) and "%.4e" or "%.4f"
end

local function rows(lines, value, depth, ndim, cut, format, width, prefix)
  if depth == ndim then
    local cells <const> = {}
    for i, v in ipairs(value) do
      cells[#cells + 1] = string.format("%" .. width .. "s", string.format(format, v))
      if cut[depth] and i == EDGE then
        cells[#cells + 1] = "..."
      end
    end
    lines[#lines + 1] = prefix .. "{ " .. table.concat(cells, ", ") .. " }"
    return
  end
  for i, v in ipairs(value) do
    rows(lines, v, depth + 1, ndim, cut, format, width, prefix)
    if cut[depth] and i == EDGE then
      lines[#lines + 1] = prefix .. "..."
    end
  end
  if depth == ndim - 1 and depth > 1 then
    lines[#lines + 1] = ""
  end
end

local function tostring_tensor(t)
  local head <const> = string.format("tensor %s %s", t.dtype, shape_text(t:shape()))
  if t:numel() == 0 then
    return head
  end
  return core.scope(function()
    return core.no_grad(function()
      local small, cut = t:detach(), {}
      if t:dim() > 0 and (t:numel() > MOST or t:size(-1) > 2 * LONGEST) then
        small, cut = corners(small)
      end
      local values <const> = small:flat()
      local format <const> = number_format(t, values)
      if t:dim() == 0 then
        return head .. " " .. string.format(format, values[1])
      end
      local width = 0
      for _, v in ipairs(values) do
        width = math.max(width, #string.format(format, v))
      end
      local lines <const> = { head }
      rows(lines, small:totable(), 1, t:dim(), cut, format, width, "  ")
      while lines[#lines] == "" do
        lines[#lines] = nil
      end
      local most <const> = 24
      if #lines > most then
        lines[most] = "  ..."
        for i = #lines, most + 1, -1 do
          lines[i] = nil
        end
      end
      return table.concat(lines, "\n")
    end)
  end)
end

-- The metatable belongs to the core; the text is made here.
core.set_tostring(function(t)
  if not core.is_alive(t) then
    return "tensor (released)"
  end
  return tostring_tensor(t)
end)

return tostring_tensor

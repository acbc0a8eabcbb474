-- SPDX-License-Identifier: MIT
--
-- Optical flow in Middlebury's .flo files: the float32 202021.25, width and height as int32, then u and v of each
-- pixel, row by row, float32; all little-endian.

local core <const> = require "lualign.core"

local flo <const> = {}

local MAGIC <const> = string.pack("<f", 202021.25)
local HEAD <const>, MOST <const> = 12, 1 << 15

--- The flow in a file: float32 (height, width, 2).
function flo.load(path)
  local file <close>, why <const> = io.open(path, "rb")
  if not file then
    error(why, 0)
  end
  local head <const> = file:read(HEAD) or ""
  if head:sub(1, 4) ~= MAGIC or #head < HEAD then
    error(string.format("%s: is no .flo file", path), 0)
  end
  local width <const>, height <const> = string.unpack("<i4 i4", head, 5)
  if width < 1 or height < 1 or width > MOST or height > MOST then
    error(string.format("%s: a flow of %d x %d pixels; sides of 1 to %d are taken", path, width, height, MOST), 0)
  end
  local size <const> = file:seek "end"
  if size ~= HEAD + width * height * 8 then
    error(string.format("%s: should have %d bytes for %d x %d pixels, has %d", path, HEAD + width * height * 8, width,
      height, size), 0)
  end
  return core.io.elements(path, HEAD, "F32", { height, width, 2 })
end

--- Writes a flow (height, width, 2).
function flo.save(path, flow)
  if flow:dim() ~= 3 or flow:size(3) ~= 2 or flow.dtype ~= "float32" then
    error(string.format("save_flo: the flow must be float32 (height, width, 2), got %s (%s)", flow.dtype,
      table.concat(flow:shape(), ", ")), 2)
  end
  core.io.write_file(path, MAGIC .. string.pack("<i4 i4", flow:size(2), flow:size(1)) .. flow:bytes())
end

return flo

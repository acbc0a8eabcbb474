-- SPDX-License-Identifier: MIT
--
-- la.vis: pictures of alignments, made on the host. Pictures are tensors (H, W, 3), (H, W, 1) or (H, W) of 0..255, or
-- canvases; results are uint8 (H, W, 3). Points are { {x, y}, ... } in 1-based pixels, as la.data.keypoints has them.
--
--   vis.overlay(warped, target, 0.5)
--   vis.checkerboard(warped, target, { size = 32 })
--   vis.side_by_side(source, target, { source = points, target = points }, { lines = true })
--   vis.grid { images = { a, b, c }, columns = 3, labels = { "a", "b", "c" } }
--   vis.points(picture, points)

local la <const> = require "lualign"
local options <const> = require "lualign.util.options"

local vis <const> = {}

local function is_canvas(value)
  return type(value) == "userdata" and not la.is_tensor(value)
end

-- A picture as a canvas of three channels, of its own.
local function canvas_of(picture, fname, name)
  if not is_canvas(picture) and not la.is_tensor(picture) then
    error(string.format("%s: %s must be a picture, got a %s", fname, name, type(picture)), 3)
  end
  local given <const> = is_canvas(picture) and picture or la.io.canvas(picture)
  local width <const>, height <const> = given:size()
  return la.io.canvas(width, height):paste(given), width, height
end

local function check_same_size(fname, wa, ha, wb, hb)
  if wa ~= wb or ha ~= hb then
    error(string.format("%s: both pictures must be of one size (width x height), got %d x %d and %d x %d", fname, wa,
      ha, wb, hb), 3)
  end
end

local function check_points(fname, name, points)
  if type(points) ~= "table" then
    error(string.format("%s: points.%s must be a list of { x, y }, got a %s", fname, name, type(points)), 3)
  end
  for i, p in ipairs(points) do
    if type(p) ~= "table" or type(p[1]) ~= "number" or type(p[2]) ~= "number" then
      error(string.format("%s: points.%s[%d] must be { x, y }", fname, name, i), 3)
    end
  end
end

-- Bright colours, far apart for neighbours in a list: hues by the golden ratio.
local function bright(i)
  local hue <const> = (i * 0.618033988749895) % 1 * 6
  local colour <const> = {}
  for k, shift in ipairs { 0, 4, 2 } do
    colour[k] = 255 * math.max(0, math.min(1, math.abs((hue + shift) % 6 - 3) - 1))
  end
  return colour
end

local function is_finite(p)
  return math.abs(p[1]) < math.huge and math.abs(p[2]) < math.huge
end

-- A dot with a dark rim; what is not finite is nowhere.
local function dot(canvas, p, dx, radius, colour)
  if is_finite(p) then
    canvas:circle(p[1] - 1 + dx, p[2] - 1, radius + 1, { 0, 0, 0 }, 0.8)
    canvas:circle(p[1] - 1 + dx, p[2] - 1, radius, colour)
  end
end

--- a over b: alpha (0.5) of a, the rest of b.
function vis.overlay(a, b, alpha)
  local top <const>, wa <const>, ha <const> = canvas_of(a, "overlay", "a")
  local bottom <const>, wb <const>, hb <const> = canvas_of(b, "overlay", "b")
  check_same_size("overlay", wa, ha, wb, hb)
  return bottom:paste(top, 0, 0, alpha or 0.5):tensor()
end

--- a and b in turn, in squares: edges that run on from one into the other are aligned. opts.size: side of a square.
function vis.checkerboard(a, b, opts)
  local o <const> = options.check("checkerboard", opts, { size = 32 })
  local white <const>, wa <const>, ha <const> = canvas_of(a, "checkerboard", "a")
  local black <const>, wb <const>, hb <const> = canvas_of(b, "checkerboard", "b")
  check_same_size("checkerboard", wa, ha, wb, hb)
  if math.type(o.size) ~= "integer" or o.size < 1 then
    error(string.format("checkerboard: size must be a whole number of at least 1, got %s", tostring(o.size)), 2)
  end
  for y = 0, (ha - 1) // o.size do
    for x = y % 2, (wa - 1) // o.size, 2 do
      local width <const>, height <const> = math.min(o.size, wa - x * o.size), math.min(o.size, ha - y * o.size)
      local square <const> = la.io.canvas(width, height):paste(black, -x * o.size, -y * o.size)
      white:paste(square, x * o.size, y * o.size)
    end
  end
  return white:tensor()
end

--- A picture with dots on it, each in its own colour or all in opts.colour.
function vis.points(picture, points, opts)
  local o <const> = options.check("points", opts, { radius = 3, colour = options.optional "table" })
  local canvas <const> = canvas_of(picture, "points", "the picture")
  check_points("points", "points", points)
  for i, p in ipairs(points) do
    dot(canvas, p, 0, o.radius, o.colour or bright(i))
  end
  return canvas:tensor()
end

--- Source and target next to each other, and what corresponds in the same colour.
-- points: { source =, target = }, equally long, or nil for none. opts: lines (true) from each point to its partner; gap
-- between the pictures; radius of the dots; width of the lines.
function vis.side_by_side(source, target, points, opts)
  local o <const> = options.check("side_by_side", opts, { lines = true, gap = 8, radius = 3, width = 1.5 })
  local left <const>, wa <const>, ha <const> = canvas_of(source, "side_by_side", "source")
  local right <const>, wb <const>, hb <const> = canvas_of(target, "side_by_side", "target")
  local canvas <const> = la.io.canvas(wa + o.gap + wb, math.max(ha, hb), { 255, 255, 255 })
  canvas:paste(left, 0, 0):paste(right, wa + o.gap, 0)
  local p <const> = options.check("side_by_side: points", points, { source = {}, target = {} })
  check_points("side_by_side", "source", p.source)
  check_points("side_by_side", "target", p.target)
  if #p.source ~= #p.target then
    error(string.format("side_by_side: points.source and points.target must be equally long, got %d and %d", #p.source,
      #p.target), 2)
  end
  for i, a in ipairs(p.source) do
    local b <const> = p.target[i]
    if o.lines and is_finite(a) and is_finite(b) then
      canvas:line(a[1] - 1, a[2] - 1, b[1] - 1 + wa + o.gap, b[2] - 1, o.width, bright(i), 0.8)
    end
  end
  for i, a in ipairs(p.source) do
    dot(canvas, a, 0, o.radius, bright(i))
    dot(canvas, p.target[i], wa + o.gap, o.radius, bright(i))
  end
  return canvas:tensor()
end

-- The largest width and height of canvases.
local function cell_size(canvases)
  local width, height = 1, 1
  for _, c in ipairs(canvases) do
    local w <const>, h <const> = c:size()
    width, height = math.max(width, w), math.max(height, h)
  end
  return width, height
end

--- A contact sheet: pictures row by row in cells as large as the largest, each centred above its label.
-- { images =, columns = (about square), labels = (none), gap = 4, scale of the text = 1, background = white }
function vis.grid(given)
  local o <const> = options.check("grid", given, {
    images = options.required "table", columns = options.optional "number", labels = {}, gap = 4, scale = 1,
    background = { 255, 255, 255 },
  })
  local count <const> = #o.images
  local columns <const> = o.columns or math.ceil(math.sqrt(count))
  if count == 0 then
    error("grid: images must have at least one picture", 2)
  elseif math.type(columns) ~= "integer" or columns < 1 then
    error(string.format("grid: columns must be a whole number of at least 1, got %s", tostring(columns)), 2)
  end
  local canvases <const> = {}
  for i, image in ipairs(o.images) do
    canvases[i] = canvas_of(image, "grid", string.format("images[%d]", i))
  end
  local width <const>, height <const> = cell_size(canvases)
  local _, line <const> = la.io.text_size("X", o.scale)
  local text <const> = next(o.labels) ~= nil and line + 2 or 0
  local rows <const> = math.ceil(count / columns)
  local across <const>, down <const> = width + o.gap, height + text + o.gap
  local sheet <const> = la.io.canvas(math.min(columns, count) * across + o.gap, rows * down + o.gap, o.background)
  for i, canvas in ipairs(canvases) do
    local w <const>, h <const> = canvas:size()
    local x <const>, y <const> = o.gap + (i - 1) % columns * across, o.gap + (i - 1) // columns * down
    sheet:paste(canvas, x + (width - w) // 2, y + (height - h) // 2)
    if o.labels[i] then
      local label <const> = tostring(o.labels[i])
      sheet:text(x + math.max(0, (width - la.io.text_size(label, o.scale)) // 2), y + height + 2, label, { 0, 0, 0 },
        o.scale)
    end
  end
  return sheet:tensor()
end

return vis

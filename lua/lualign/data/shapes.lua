-- SPDX-License-Identifier: MIT
--
-- The figures of la.data.figures: for each category a function that draws one instance's proportions, parts and
-- keypoints from a random generator. Coordinates are the figure's own: x to the right, y down, about [-1, 1]; heads to
-- the left.
--
-- A part is { points = { x1, y1, x2, y2, ... }, colour = index into the instance's palette, shade = factor }. Keypoints
-- come in the same order for every instance of a category.

local shapes <const> = {}

local function between(r, low, high)
  return low + (high - low) * r:uniform()
end

-- A closed curve round (cx, cy), turned by angle.
local function ellipse(cx, cy, rx, ry, angle)
  local points <const> = {}
  local c <const>, s <const> = math.cos(angle or 0), math.sin(angle or 0)
  for k = 0, 27 do
    local a <const> = k / 28 * 2 * math.pi
    local x <const>, y <const> = rx * math.cos(a), ry * math.sin(a)
    points[#points + 1] = cx + c * x - s * y
    points[#points + 1] = cy + s * x + c * y
  end
  return points
end

-- A bar from one point to another, w0 wide at its start and w1 at its end.
local function bar(x0, y0, x1, y1, w0, w1)
  local dx <const>, dy <const> = x1 - x0, y1 - y0
  local n <const> = math.sqrt(dx * dx + dy * dy) + 1e-9
  local nx <const>, ny <const> = -dy / n / 2, dx / n / 2
  return {
    x0 + nx * w0, y0 + ny * w0, x1 + nx * w1, y1 + ny * w1, x1 - nx * w1, y1 - ny * w1, x0 - nx * w0, y0 - ny * w0,
  }
end

local function part(points, colour, shade)
  return { points = points, colour = colour, shade = shade or 1 }
end

--- A car from the side. Like all of these: draws an instance's proportions from r, returns its parts and keypoints.
function shapes.vehicle(r)
  local long <const> = between(r, 0.8, 1)
  local sill <const>, waist <const> = between(r, 0.28, 0.36), between(r, -0.1, 0.02)
  local roof <const> = between(r, -0.55, -0.38)
  local hood <const>, screen <const> = between(r, -0.45, -0.3), between(r, -0.25, -0.05)
  local back <const>, tail <const> = between(r, 0.35, 0.6), between(r, 0.6, 0.85)
  local wheel <const> = between(r, 0.16, 0.23)
  local front <const>, rear <const> = -long + between(r, 0.32, 0.42), long - between(r, 0.32, 0.42)
  local drop <const> = between(r, 0.03, 0.1)
  local list <const> = {
    part({ hood, waist, screen, roof, back, roof, tail, waist }, 1),
    part({ -long, waist + drop, hood, waist, tail, waist, long, waist + drop / 2, long, sill, -long, sill }, 1),
    part({ hood + 0.08, waist - 0.01, screen + 0.02, roof + 0.06, (screen + back) / 2 - 0.02, roof + 0.06,
      (screen + back) / 2 - 0.02, waist - 0.01 }, 4, 1.1),
    part({ (screen + back) / 2 + 0.03, waist - 0.01, (screen + back) / 2 + 0.03, roof + 0.06, back - 0.02, roof + 0.06,
      tail - 0.1, waist - 0.01 }, 4, 1.1),
    part(bar(-long, sill - 0.04, long, sill - 0.04, 0.06, 0.06), 2, 0.7),
    part(ellipse(front, sill, wheel, wheel), 5, 0.35),
    part(ellipse(rear, sill, wheel, wheel), 5, 0.35),
    part(ellipse(front, sill, wheel * 0.5, wheel * 0.5), 3, 1.2),
    part(ellipse(rear, sill, wheel * 0.5, wheel * 0.5), 3, 1.2),
    part(ellipse(-long + 0.07, waist + drop + 0.07, 0.06, 0.045), 3, 1.3),
    part(ellipse(long - 0.05, waist + drop + 0.06, 0.045, 0.05), 2, 1.2),
  }
  return list, {
    { -long, sill }, { long, sill }, { hood, waist }, { screen, roof }, { back, roof }, { tail, waist },
    { front, sill }, { rear, sill }, { -long + 0.07, waist + drop + 0.07 }, { long - 0.05, waist + drop + 0.06 },
  }
end

--- A four-legged animal from the side.
function shapes.animal(r)
  local rx <const>, ry <const> = between(r, 0.48, 0.62), between(r, 0.2, 0.3)
  local head <const> = between(r, 0.15, 0.21)
  local hx <const>, hy <const> = -rx - between(r, 0.1, 0.2), -between(r, 0.25, 0.45)
  local leg <const>, thick <const> = between(r, 0.42, 0.62), between(r, 0.09, 0.14)
  local ear <const> = between(r, 0.1, 0.2)
  local step <const> = between(r, -0.1, 0.1)
  local fx <const>, bx <const> = -rx * 0.65, rx * 0.7
  local foot <const> = ry * 0.6 + leg
  local tx <const>, ty <const> = rx + between(r, 0.15, 0.3), -between(r, 0.1, 0.4)
  local nose_x <const>, nose_y <const> = hx - head * 1.35, hy + head * 0.35
  local list <const> = {
    part(bar(fx + 0.14, ry * 0.5, fx + 0.14 - step, foot - 0.02, thick, thick * 0.8), 1, 0.65),
    part(bar(bx - 0.14, ry * 0.5, bx - 0.14 + step, foot - 0.02, thick, thick * 0.8), 1, 0.65),
    part(bar(rx * 0.9, -ry * 0.3, tx, ty, 0.09, 0.03), 2, 0.9),
    part(ellipse(0, 0, rx, ry), 1),
    part(bar(fx, ry * 0.4, fx + step, foot, thick, thick * 0.85), 1, 0.9),
    part(bar(bx, ry * 0.4, bx - step, foot, thick * 1.1, thick * 0.85), 1, 0.9),
    part(bar(-rx * 0.7, -ry * 0.3, hx, hy, 0.26, 0.18), 1),
    part({ hx + head * 0.1, hy - head * 0.7, hx + head * 0.3, hy - head * 0.8 - ear, hx + head * 0.75,
      hy - head * 0.5 }, 2),
    part(ellipse(hx, hy, head, head * 0.9), 1, 1.05),
    part(ellipse(hx - head * 0.75, hy + head * 0.3, head * 0.6, head * 0.4), 2, 1.05),
    part(ellipse(nose_x + 0.02, nose_y, 0.04, 0.04), 5, 0.2),
    part(ellipse(hx - head * 0.25, hy - head * 0.2, 0.04, 0.04), 5, 0.2),
    part(ellipse(between(r, -0.2, 0.2), -ry * 0.2, rx * 0.25, ry * 0.4), 3),
  }
  return list, {
    { nose_x, nose_y }, { hx - head * 0.25, hy - head * 0.2 }, { hx + head * 0.3, hy - head * 0.8 - ear },
    { -rx * 0.5, -ry * 0.8 }, { rx * 0.75, -ry * 0.62 }, { tx, ty }, { fx + step, foot }, { bx - step, foot },
    { 0, ry }, { -rx * 0.85, ry * 0.5 },
  }
end

--- A bottle with a label.
function shapes.bottle(r)
  local w <const>, neck <const> = between(r, 0.22, 0.36), between(r, 0.07, 0.11)
  local base <const>, shoulder <const> = between(r, 0.8, 0.95), between(r, -0.3, 0.0)
  local collar <const>, top <const> = shoulder - between(r, 0.15, 0.3), between(r, -0.95, -0.75)
  local l0 <const>, l1 <const> = between(r, 0.05, 0.2), between(r, 0.45, 0.65)
  local list <const> = {
    part({ -w, base, -w, shoulder, -w * 0.8, (shoulder + collar) / 2, -neck, collar, -neck, top, neck, top,
      neck, collar, w * 0.8, (shoulder + collar) / 2, w, shoulder, w, base }, 1),
    part({ -w, l0, w, l0, w, l1, -w, l1 }, 2, 1.1),
    part(ellipse(0, (l0 + l1) / 2, w * 0.45, (l1 - l0) * 0.3), 3),
    part({ -neck * 1.15, top, -neck * 1.15, top + 0.12, neck * 1.15, top + 0.12, neck * 1.15, top }, 4, 0.8),
    part(bar(-w * 0.65, shoulder + 0.06, -w * 0.65, base - 0.08, 0.05, 0.05), 1, 1.5),
    part({ -w, base - 0.05, w, base - 0.05, w, base, -w, base }, 1, 0.6),
  }
  return list, {
    { -w, base }, { w, base }, { -w, shoulder }, { w, shoulder }, { -neck, collar }, { neck, collar }, { 0, top },
    { -w, l0 }, { w, l1 }, { 0, (l0 + l1) / 2 },
  }
end

--- A bird from the side.
function shapes.bird(r)
  local rx <const>, ry <const> = between(r, 0.38, 0.5), between(r, 0.24, 0.33)
  local tilt <const> = between(r, -0.35, -0.1)
  local head <const> = between(r, 0.15, 0.21)
  local hx <const>, hy <const> = -rx * 0.85, -ry * 0.9 - head * between(r, 0.3, 0.8)
  local beak <const> = between(r, 0.15, 0.3)
  local tx <const>, ty <const> = rx + between(r, 0.3, 0.5), between(r, 0.05, 0.25)
  local wx <const>, wy <const> = rx * between(r, 0.6, 0.9), between(r, 0.0, 0.12)
  local foot <const> = ry + between(r, 0.25, 0.4)
  local list <const> = {
    part({ rx * 0.6, -0.08, tx, ty - 0.1, tx + 0.02, ty + 0.06, rx * 0.5, ry * 0.5 }, 2, 0.8),
    part(bar(-0.08, ry * 0.7, -0.1, foot, 0.04, 0.04), 4, 0.8),
    part(bar(0.1, ry * 0.7, 0.1, foot, 0.04, 0.04), 4, 0.8),
    part(bar(-0.2, foot, -0.02, foot, 0.04, 0.04), 4, 0.8),
    part(bar(0.0, foot, 0.18, foot, 0.04, 0.04), 4, 0.8),
    part({ hx - head * 0.6, hy - head * 0.35, hx - head - beak, hy + 0.03, hx - head * 0.6, hy + head * 0.45 }, 4, 1.2),
    part(bar(-rx * 0.5, -ry * 0.3, hx, hy, 0.3, 0.2), 1),
    part(ellipse(0, 0, rx, ry, tilt), 1),
    part(ellipse(-rx * 0.45, ry * 0.25, rx * 0.35, ry * 0.5), 3, 1.1),
    part(ellipse(hx, hy, head, head), 1, 1.1),
    part(ellipse(hx - head * 0.2, hy - head * 0.2, 0.045, 0.045), 5, 0.15),
    part({ -rx * 0.3, -ry * 0.35, rx * 0.3, -ry * 0.4, wx, wy, 0, ry * 0.45 }, 2, 0.95),
  }
  return list, {
    { hx - head - beak, hy + 0.03 }, { hx - head * 0.2, hy - head * 0.2 }, { hx + head * 0.2, hy - head },
    { -rx * 0.8, ry * 0.5 }, { tx, ty }, { wx, wy }, { -0.1, foot }, { 0.1, foot }, { -rx * 0.3, -ry * 0.35 },
    { 0, ry },
  }
end

--- A face from the front.
function shapes.face(r)
  local rx <const>, ry <const> = between(r, 0.5, 0.65), between(r, 0.7, 0.85)
  local ex <const>, ey <const> = between(r, 0.2, 0.28), between(r, -0.22, -0.08)
  local eye <const> = between(r, 0.08, 0.12)
  local nose <const>, mouth <const> = between(r, 0.1, 0.22), between(r, 0.36, 0.48)
  local mw <const>, smile <const> = between(r, 0.17, 0.3), between(r, -0.04, 0.1)
  local brow <const> = between(r, 0.14, 0.2)
  local fringe <const> = between(r, -0.6, -0.4)
  local list <const> = {
    part(ellipse(0, -ry * 0.15, rx * 1.12, ry * 1.0), 2, 0.8),
    part(ellipse(-rx, 0, 0.1, 0.17), 1, 0.9),
    part(ellipse(rx, 0, 0.1, 0.17), 1, 0.9),
    part(ellipse(0, 0.05, rx, ry), 1, 1.05),
    part({ -rx * 0.95, -ry * 0.45, -rx * 0.5, -ry * 0.95, rx * 0.5, -ry * 0.95, rx * 0.95, -ry * 0.45, rx * 0.3, fringe,
      -rx * 0.4, fringe + 0.06 }, 2, 0.8),
    part(ellipse(-ex, ey, eye * 1.3, eye * 0.8), 3, 2),
    part(ellipse(ex, ey, eye * 1.3, eye * 0.8), 3, 2),
    part(ellipse(-ex, ey, eye * 0.55, eye * 0.6), 5, 0.2),
    part(ellipse(ex, ey, eye * 0.55, eye * 0.6), 5, 0.2),
    part(bar(-ex - 0.12, ey - brow, -ex + 0.1, ey - brow - 0.02, 0.05, 0.04), 2, 0.6),
    part(bar(ex + 0.12, ey - brow, ex - 0.1, ey - brow - 0.02, 0.05, 0.04), 2, 0.6),
    part({ -0.02, ey + 0.08, -0.08, nose, 0.08, nose, 0.03, ey + 0.08 }, 1, 0.8),
    part({ -mw, mouth - smile, 0, mouth - 0.03, mw, mouth - smile, 0, mouth + 0.09 }, 4, 0.8),
  }
  return list, {
    { -ex, ey }, { ex, ey }, { -ex - 0.12, ey - brow }, { ex + 0.12, ey - brow }, { 0, nose }, { -mw, mouth - smile },
    { mw, mouth - smile }, { 0, 0.05 + ry }, { -rx, 0 }, { rx, 0 },
  }
end

shapes.CATEGORIES = { "vehicle", "animal", "bottle", "bird", "face" }

return shapes

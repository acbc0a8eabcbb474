-- SPDX-License-Identifier: MIT
--
-- Transformations of single points in double precision, on the host: for keypoints, for inverses, and as the
-- yardstick of the kernels. A transformation maps target coordinates to source coordinates, normalised to [-1, 1], x
-- before y.
--
-- A stage is { model = "affine" | "similarity" | "tps" | "homography", theta = list of numbers, grid =, reg = }; a list
-- of stages is applied last first, so that { affine, tps } is affine(tps(p)), as the two-stage network means it.

local host <const> = {}

--- Control points of a thin-plate spline: gx * gy of them on a regular grid over [-1, 1], x the slow index.
function host.control_points(gy, gx)
  local points <const> = {}
  for i = 0, gx - 1 do
    for j = 0, gy - 1 do
      points[#points + 1] = { -1 + 2 * i / (gx - 1), -1 + 2 * j / (gy - 1) }
    end
  end
  return points
end

--- The two numbers of a grid option: 3 means { 3, 3 } (rows, columns).
function host.grid_sizes(grid)
  if type(grid) == "table" then
    return grid[1], grid[2]
  end
  return grid or 3, grid or 3
end

-- U(r^2) = r^2 ln r^2, and 0 at 0.
local function radial(r2)
  return r2 == 0 and 0 or r2 * math.log(r2)
end

--- Inverse of a square matrix of rows, by Gauss-Jordan elimination with pivoting.
function host.invert(m)
  local n <const> = #m
  local a <const> = {}
  for i = 1, n do
    a[i] = table.move(m[i], 1, n, 1, {})
    for j = 1, n do
      a[i][n + j] = i == j and 1 or 0
    end
  end
  for c = 1, n do
    local p = c
    for i = c + 1, n do
      if math.abs(a[i][c]) > math.abs(a[p][c]) then
        p = i
      end
    end
    if a[p][c] == 0 or a[p][c] ~= a[p][c] then
      error("invert: the matrix is singular", 2)
    end
    a[c], a[p] = a[p], a[c]
    local row <const>, pivot <const> = a[c], a[c][c]
    for j = c, 2 * n do
      row[j] = row[j] / pivot
    end
    for i = 1, n do
      local f <const> = a[i][c]
      if i ~= c and f ~= 0 then
        for j = c, 2 * n do
          a[i][j] = a[i][j] - f * row[j]
        end
      end
    end
  end
  local out <const> = {}
  for i = 1, n do
    out[i] = table.move(a[i], n + 1, 2 * n, 1, {})
  end
  return out
end

--- Inverse of the spline's system matrix L = [[K + reg I, P], [P', 0]]: (gx gy + 3) rows.
function host.tps_inverse(gy, gx, reg)
  local points <const> = host.control_points(gy, gx)
  local k <const> = #points
  local m <const> = {}
  for i, p in ipairs(points) do
    local row <const> = {}
    for j, q in ipairs(points) do
      row[j] = radial((p[1] - q[1]) ^ 2 + (p[2] - q[2]) ^ 2) + (i == j and reg or 0)
    end
    row[k + 1], row[k + 2], row[k + 3] = 1, p[1], p[2]
    m[i] = row
  end
  for d = 1, 3 do
    local row <const> = {}
    for j, q in ipairs(points) do
      row[j] = d == 1 and 1 or q[d - 1]
    end
    row[k + 1], row[k + 2], row[k + 3] = 0, 0, 0
    m[k + d] = row
  end
  return host.invert(m)
end

local function check_count(model, theta, expected)
  if #theta ~= expected then
    error(string.format("%s: theta must hold %d numbers, got %d", model, expected, #theta), 3)
  end
end

--- function(x, y) -> x, y of an affine theta: (a, b, tx, c, d, ty), rows of a 2x3 matrix.
function host.affine(theta)
  check_count("affine", theta, 6)
  local a <const>, b <const>, tx <const>, c <const>, d <const>, ty <const> = table.unpack(theta)
  return function(x, y)
    return a * x + b * y + tx, c * x + d * y + ty
  end
end

--- The same of a similarity: (a, b, tx, ty), x' = a x - b y + tx, y' = b x + a y + ty.
function host.similarity(theta)
  check_count("similarity", theta, 4)
  local a <const>, b <const>, tx <const>, ty <const> = table.unpack(theta)
  return host.affine { a, -b, tx, b, a, ty }
end

--- The same of a spline: theta holds the x of all control points' images, then their y.
function host.tps(theta, grid, reg)
  local gy <const>, gx <const> = host.grid_sizes(grid)
  local k <const> = gy * gx
  check_count("tps", theta, 2 * k)
  local points <const>, inverse <const> = host.control_points(gy, gx), host.tps_inverse(gy, gx, reg or 0)
  local wx <const>, wy <const> = {}, {}
  for i, row in ipairs(inverse) do
    local sx, sy = 0, 0
    for j = 1, k do
      sx, sy = sx + row[j] * theta[j], sy + row[j] * theta[k + j]
    end
    wx[i], wy[i] = sx, sy
  end
  return function(x, y)
    local ox = wx[k + 1] + wx[k + 2] * x + wx[k + 3] * y
    local oy = wy[k + 1] + wy[k + 2] * x + wy[k + 3] * y
    for i, p in ipairs(points) do
      local u <const> = radial((x - p[1]) ^ 2 + (y - p[2]) ^ 2)
      ox, oy = ox + wx[i] * u, oy + wy[i] * u
    end
    return ox, oy
  end
end

local CORNERS <const> = { { -1, -1 }, { -1, 1 }, { 1, -1 }, { 1, 1 } }

--- The 9 numbers (h33 = 1) of the homography that takes the corners (-1,-1), (-1,1), (1,-1), (1,1) to theta's: four
-- x, four y.
function host.homography_matrix(theta)
  check_count("homography", theta, 8)
  local m <const> = {}
  for i, p in ipairs(CORNERS) do
    local x <const>, y <const>, u <const>, v <const> = p[1], p[2], theta[i], theta[4 + i]
    m[2 * i - 1] = { x, y, 1, 0, 0, 0, -u * x, -u * y }
    m[2 * i] = { 0, 0, 0, x, y, 1, -v * x, -v * y }
  end
  local inverse <const>, h <const> = host.invert(m), {}
  for i = 1, 8 do
    h[i] = 0
    for j = 1, 4 do
      h[i] = h[i] + inverse[i][2 * j - 1] * theta[j] + inverse[i][2 * j] * theta[4 + j]
    end
  end
  h[9] = 1
  return h
end

--- The same of a homography: theta holds 4 corners (8 numbers) or a matrix (9, rows). With `nudge` the denominator k
-- becomes k + sign(k) * nudge, as the paper's code does for points (1e-5) and not for grids.
function host.homography(theta, nudge)
  local h <const> = #theta == 8 and host.homography_matrix(theta) or theta
  check_count("homography", h, 9)
  return function(x, y)
    local k <const> = h[7] * x + h[8] * y + h[9]
    local d <const> = k + (k > 0 and 1 or k < 0 and -1 or 0) * (nudge or 0)
    return (h[1] * x + h[2] * y + h[3]) / d, (h[4] * x + h[5] * y + h[6]) / d
  end
end

--- function(x, y) -> x, y of one stage.
function host.stage(stage)
  if stage.model == "affine" then
    return host.affine(stage.theta)
  elseif stage.model == "similarity" then
    return host.similarity(stage.theta)
  elseif stage.model == "tps" then
    return host.tps(stage.theta, stage.grid, stage.reg)
  elseif stage.model == "homography" then
    return host.homography(stage.theta, 1e-5)
  end
  error(string.format("stage: model must be affine, similarity, tps or homography, got %s", tostring(stage.model)), 2)
end

--- function(x, y) -> x, y of a list of stages, applied last first.
function host.compose(stages)
  local maps <const> = {}
  for i, stage in ipairs(stages) do
    maps[i] = host.stage(stage)
  end
  return function(x, y)
    for i = #maps, 1, -1 do
      x, y = maps[i](x, y)
    end
    return x, y
  end
end

-- One Newton step for map(x, y) = (u, v), with a central-difference Jacobian; nil where that is singular.
local function newton_step(map, x, y, ex, ey)
  local h <const> = 1e-6
  local rx, ry = map(x + h, y)
  local lx, ly = map(x - h, y)
  local a <const>, c <const> = (rx - lx) / (2 * h), (ry - ly) / (2 * h)
  rx, ry = map(x, y + h)
  lx, ly = map(x, y - h)
  local b <const>, d <const> = (rx - lx) / (2 * h), (ry - ly) / (2 * h)
  local det <const> = a * d - b * c
  if math.abs(det) <= 1e-12 or det ~= det then
    return nil
  end
  return (d * ex - b * ey) / det, (a * ey - c * ex) / det
end

--- Solves map(x, y) = (u, v) by damped Newton iteration from (x0, y0), by default (u, v) itself.
-- Returns x, y and the residual |map(x, y) - (u, v)|: where the map folds or does not reach (u, v), the residual says
-- so.
function host.inverse(map, u, v, x0, y0)
  local x, y = x0 or u, y0 or v
  local mx, my = map(x, y)
  local ex, ey = u - mx, v - my
  local residual = math.sqrt(ex * ex + ey * ey)
  for _ = 1, 50 do
    if residual < 1e-13 then
      break
    end
    local dx <const>, dy <const> = newton_step(map, x, y, ex, ey)
    if not dx then
      break
    end
    local t, better = 1, false
    while t > 1e-4 and not better do
      local nx <const>, ny <const> = x + t * dx, y + t * dy
      mx, my = map(nx, ny)
      local r <const> = math.sqrt((u - mx) ^ 2 + (v - my) ^ 2)
      if r < residual then
        x, y, ex, ey, residual, better = nx, ny, u - mx, v - my, r, true
      end
      t = t / 2
    end
    if not better then
      break
    end
  end
  return x, y, residual
end

return host

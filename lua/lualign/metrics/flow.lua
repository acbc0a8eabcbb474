-- SPDX-License-Identifier: MIT
--
-- The flow accuracy of TSS (Taniai, Sinha and Sato, CVPR 2016), which the alignment papers call PCK there.

local flow <const> = {}

--- The share of the mask's pixels whose flow is off by less than alpha of the longer side of the image, at each of a
-- list of alphas: a list. At 0.05 it is what the data set's kit reports at 5 pixels of an image scaled to 100. found,
-- truth: (height, width, 2); mask: uint8 (height, width), every pixel above 0 counts. Pixels whose true flow is not
-- finite, or above 1e9, do not. NaN if none does.
function flow.accuracies(found, truth, mask, alphas)
  local height <const>, width <const> = mask:size(1), mask:size(2)
  for name, t in pairs { found = found, truth = truth } do
    if t:dim() ~= 3 or t:size(1) ~= height or t:size(2) ~= width or t:size(3) ~= 2 then
      error(string.format("flow.accuracy: %s must be (%d, %d, 2), got (%s)", name, height, width,
        table.concat(t:shape(), ", ")), 2)
    end
  end
  local a <const>, b <const>, inside <const> = found:flat(), truth:flat(), mask:bytes()
  local right <const>, side <const> = {}, math.max(height, width)
  for i = 1, #alphas do
    right[i] = 0
  end
  local count = 0
  for k = 0, height * width - 1 do
    local u <const>, v <const> = b[2 * k + 1], b[2 * k + 2]
    if inside:byte(k + 1) > 0 and math.abs(u) < 1e9 and math.abs(v) < 1e9 then
      local du <const>, dv <const> = a[2 * k + 1] - u, a[2 * k + 2] - v
      local off <const> = math.sqrt(du * du + dv * dv)
      count = count + 1
      for i, alpha in ipairs(alphas) do
        right[i] = right[i] + (off < alpha * side and 1 or 0)
      end
    end
  end
  for i = 1, #alphas do
    right[i] = right[i] / count
  end
  return right
end

--- The same at one alpha, 0.05 if left out, as a number.
function flow.accuracy(found, truth, mask, alpha)
  return flow.accuracies(found, truth, mask, { alpha or 0.05 })[1]
end

return flow

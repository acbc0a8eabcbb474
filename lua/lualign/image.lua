-- SPDX-License-Identifier: MIT
--
-- la.image: pictures as tensors (H, W, 3), RGB.
--
--   image.load(path)                       uint8; JPEG, PNG, BMP or TGA
--   image.load(path, { size = 240 })       float32 of 0..255, resized to 240 x 240
--   image.load(path, { size = { height, width }, filter = "antialias", flip = true,
--                      crop = { top =, bottom =, left =, right = } })
--   image.info(path)                       width, height, from the file's head
--   image.save(path, picture)              .png, .jpg (quality = 92) or .bmp
--
-- upright = true turns a photograph as its EXIF data say, before all else; without it, as in `info` and for the
-- keypoints of data sets, pixels are as the file stores them. Grey is repeated; transparent parts lie on white. Crop
-- comes next: rows top to bottom - 1 and columns left to right - 1, counted from 0; then flip mirrors left and right;
-- then the size. filter "bilinear" mixes the four nearest pixels with the corners aligned, as the papers do, and lets
-- fine detail alias; "antialias" takes a triangle as wide as the step, with pixel centres at halves, as Pillow and
-- PyTorch's antialiased bilinear do.
--
-- A file that ends early or is damaged is an error that names it. What is saved, a tensor (H, W, 3), (H, W, 1), (H, W)
-- or a canvas, is rounded, clamped to 0..255 and appears whole or not at all.

local core <const> = require "lualign.core"

return {
  load = core.io.image_load,
  info = core.io.image_info,
  save = core.io.image_save,
}

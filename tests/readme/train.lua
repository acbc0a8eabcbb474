local la = require "lualign"
la.seed(1)

local net = la.models.weakalign { backbone = "mobilenetv2", stages = { "affine", "tps" } }
net:eval()

local data = la.data.figures.pairs { count = 1000 } -- or la.data.pairs { root = "photos", augment = "crop_flip" }
local opt = la.optim.Adam(net:regressor_parameters(), { lr = 1e-4 })

la.train.run {
  model = net, data = data, optimizer = opt, steps = tonumber(arg[1]) or 200, batch = 8, out = arg[2] or "runs/mine",
  step = function(pair)
    local t = net(pair.source, pair.target) -- t.affine, t.tps, t.correlation
    return la.losses.weak(t.correlation, t, { offset = net.config.offset })
  end,
}

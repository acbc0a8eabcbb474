-- SPDX-License-Identifier: MIT
--
-- lualign evaluate: transfer of keypoints, masks or flow on a data set. The last line is the mean over all pairs.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"

local parser <const> = cli.parser("evaluate", "Scores an alignment by what it transfers: keypoints, masks or flow.")
parser:option("--dataset", "pf-willow, pf-pascal, caltech, tss, pascal-parts, spair-71k, or pairs (keypoints in "
  .. "--list)", "pf-willow")
  :choices { "pf-willow", "pf-pascal", "caltech", "tss", "pascal-parts", "spair-71k", "pairs" }
parser:option("--root", "folder of the data set"):argname("DIR"):count(1)
parser:option("--list", "for pairs and pf-pascal: CSV with source_image, target_image, XA, YA, XB, YB"):argname("FILE")
parser:option("--protocol", "of pf-pascal: scnet (images of 224 x 224, as the paper) or box", "scnet")
  :choices { "scnet", "box" }
parser:option("--annotations", "of pf-willow and pf-pascal: keypoints from the list, or from the archive's mat files",
  "list"):choices { "list", "mat" }
parser:option("--split", "of spair-71k: trn, val or test", "test"):choices { "trn", "val", "test" }
parser:option("--train-list", "of pf-pascal: report what its test pairs share with that list"):argname("FILE")
parser:option("--alpha", "thresholds of PCK, joined by commas", "0.05,0.1,0.15"):argname("A")
parser:option("--model", "a trained network, or identity, nearest, ransac-affine, ransac-homography, or untrained "
  .. "(features and --refine alone)", "identity"):argname("FILE|NAME")
parser:option("--second", "a single-stage network for the second stage; the first one's features serve both")
  :argname("FILE")
parser:option("--refine", "gradient steps on each pair's own soft inlier count"):argname("N"):convert(cli.count)
parser:flag("--starts", "let --refine begin also from eleven affine starts, not from the network's answer alone")
parser:option("--power", "sharpening of the correlation that --refine counts on", 4):argname("P"):convert(cli.positive)
parser:option("--precision", "of convolutions: bfloat16 is faster on devices that compute with it", "default")
  :choices { "default", "strict", "bfloat16" }
parser:option("--json", "write every pair's transformations and scores there"):argname("FILE")
parser:option("--csv", "write every pair's scores there"):argname("FILE")
parser:option("--curve", "write PCK against alpha there, 0 to 0.3, as CSV"):argname("FILE")
parser:option("--flows", "of tss: write the flow of every pair below that folder"):argname("DIR")
local args <const> = cli.parse(parser, arg)

-- ---- the data ----

local function pairs_of_dataset()
  local benchmarks <const> = la.data.benchmarks
  if args.dataset == "pf-willow" then
    return benchmarks.pf_willow(args.root, { annotations = args.annotations })
  elseif args.dataset == "pf-pascal" then
    return benchmarks.pf_pascal(args.root, {
      protocol = args.protocol, list = args.list, annotations = args.annotations,
    })
  elseif args.dataset == "caltech" then
    return benchmarks.caltech(args.root)
  elseif args.dataset == "tss" then
    return benchmarks.tss(args.root)
  elseif args.dataset == "pascal-parts" then
    return benchmarks.pascal_parts(args.root)
  elseif args.dataset == "spair-71k" then
    return benchmarks.spair(args.root, { split = args.split })
  elseif not args.list then
    cli.fail("--dataset pairs needs --list")
  end
  return la.data.keypoints.list(args.list, args.root)
end

local function report_leakage(list)
  local test <const> = {}
  for k, pair in ipairs(list) do
    test[k] = { source_image = pair.source:sub(#args.root + 2), target_image = pair.target:sub(#args.root + 2) }
  end
  local shared <const> = la.data.benchmarks.leakage(test, la.io.read_csv(args.train_list, {
    required = { "source_image", "target_image" },
  }))
  print(string.format("%d of %d test pairs and %d of %d test images are in the training list too", shared.pairs,
    shared.of.pairs, shared.images, shared.of.images))
end

-- ---- the method ----

local function model_of()
  if args.model == "untrained" then
    return nil
  end
  local model <const> = la.models.load(args.model)
  return (args.second and la.models.join(model, la.models.load(args.second)) or model):fuse {
    precision = args.precision,
  }
end

local function method()
  local evaluate <const> = la.evaluate
  if args.model == "identity" then
    return evaluate.identity()
  elseif args.model == "nearest" then
    return evaluate.nearest(la.align.default_features():fuse { precision = args.precision }, 240, "antialias")
  end
  local fitted <const> = args.model:match "^ransac%-(.*)$"
  if fitted == "affine" or fitted == "homography" then
    return la.ransac.method(la.align.default_features():fuse { precision = args.precision }, {
      model = fitted, seed = args.seed,
    })
  end
  local model <const> = model_of()
  return evaluate.aligned(la.align.aligner {
    model = model, refine = args.refine, starts = model and args.starts or nil, power = args.power,
    precision = args.precision,
  })
end

-- ---- the tables ----

local alphas <const> = {}
for text in args.alpha:gmatch "[^,]+" do
  alphas[#alphas + 1] = tonumber(text) or cli.fail("--alpha must be numbers joined by commas, got '%s'", args.alpha)
end
local curve <const> = {}
for k = 1, args.curve and 60 or 0 do
  curve[k] = k * 0.005
end

-- { name, function(row) }, ...: what pairs of the data set are scored by.
local function columns_of(row)
  local columns <const> = {}
  if row.pck then
    for k, alpha in ipairs(alphas) do
      columns[k] = { string.format("PCK@%.2f", alpha), function(r) return r.pck[k] end }
    end
  end
  for _, entry in ipairs {
    { "LT-ACC", "label_transfer" }, { "IoU", "iou" }, { "LOC-ERR", "localisation_error" }, { "flow", "flow_accuracy" },
  } do
    if row[entry[2]] then
      columns[#columns + 1] = { entry[1], function(r) return r[entry[2]] end }
    end
  end
  return columns
end

local function line(columns, means)
  local parts <const> = {}
  for k, column in ipairs(columns) do
    parts[k] = string.format("%s %.3f", column[1], means[column[1]])
  end
  return table.concat(parts, " ")
end

local function first_only(columns)
  local out <const> = {}
  for k, column in ipairs(columns) do
    out[k] = { column[1], function(row) return row.first and column[2](row.first) end }
  end
  return out
end

local function write_csv(path, rows, columns)
  local out <const> = { "source,target,category" }
  for _, column in ipairs(columns) do
    out[1] = out[1] .. "," .. column[1]
  end
  for k, row in ipairs(rows) do
    local parts <const> = { row.source, row.target, row.category }
    for _, column in ipairs(columns) do
      parts[#parts + 1] = string.format("%.6g", column[2](row))
    end
    out[k + 1] = table.concat(parts, ",")
  end
  la.io.write_file(path, table.concat(out, "\n") .. "\n")
end

local function write_curve(path, rows)
  local columns <const>, out <const> = {}, { "alpha,pck" }
  for k = 1, #curve do
    columns[k] = { tostring(k), function(row) return row.pck[#alphas + k] end }
  end
  local means <const> = la.metrics.means(rows, columns)
  for k, alpha in ipairs(curve) do
    out[k + 1] = string.format("%.3f,%.6f", alpha, means[tostring(k)])
  end
  la.io.write_file(path, table.concat(out, "\n") .. "\n")
end

-- NaN, which JSON does not have, as null.
local function plain(value)
  if type(value) == "table" then
    local out <const> = {}
    for key, item in pairs(value) do
      out[key] = plain(item)
    end
    return out
  end
  return value ~= value and la.io.null or value
end

local list <const> = pairs_of_dataset()
if args.train_list then
  report_leakage(list)
end
local meter <const> = cli.progress("evaluate", #list)
local rows <const> = la.evaluate.run(list, method(), {
  alphas = table.move(curve, 1, #curve, #alphas + 1, table.move(alphas, 1, #alphas, 1, {})), flows = args.flows,
  progress = function(i) meter:update(i) end,
})
meter:finish()

local columns <const> = columns_of(rows[1])
local all <const>, categories <const> = la.metrics.means(rows, columns)
for _, c in ipairs(categories) do
  print(string.format("%-20s %5d pairs  %s", c.category, c.pairs, line(columns, c)))
end
local classes <const> = {} -- every class weighs the same
for k, column in ipairs(columns) do
  classes[k] = { column[1], function(c) return c[column[1]] end }
end
print(string.format("%-20s %5d        %s", "mean over classes", #categories,
  line(columns, (la.metrics.means(categories, classes)))))
if rows[1].difficulty then
  for _, group in ipairs(require("lualign.data.spair").breakdown(rows, columns)) do
    print(string.format("%-20s %5d pairs  %s", group.kind .. " " .. group.category, group.pairs, line(columns, group)))
  end
end
if rows[1].first then
  print(string.format("%-20s %5d pairs  %s", "first stage alone", #rows,
    line(columns, (la.metrics.means(rows, first_only(columns))))))
end
if args.csv then
  write_csv(args.csv, rows, columns)
end
if args.curve then
  write_curve(args.curve, rows)
end
if args.json then
  la.io.write_file(args.json, la.io.json_encode(plain {
    dataset = args.dataset, protocol = args.dataset == "pf-pascal" and args.protocol or nil, model = args.model,
    refine = args.refine, alphas = alphas, means = all, categories = categories, pairs = rows,
    difficulty = rows[1].difficulty and require("lualign.data.spair").breakdown(rows, columns) or nil,
  }) .. "\n")
end
print(line(columns, all))

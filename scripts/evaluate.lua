-- SPDX-License-Identifier: MIT
--
-- lualign evaluate: transfer of keypoints, masks or flow on a data set, as tables like the papers': a line for each
-- method, a column for each class or group, and the means.

local la <const> = require "lualign"
local cli <const> = require "lualign.cli"
local report <const> = la.metrics.report

local parser <const> = cli.parser("evaluate", "Scores an alignment by what it transfers: keypoints, masks or flow.")
parser:option("--dataset", "pf-willow, pf-pascal, caltech, tss, pascal-parts, spair-71k, or pairs (keypoints in "
  .. "--list)", "pf-willow")
  :choices { "pf-willow", "pf-pascal", "caltech", "tss", "pascal-parts", "spair-71k", "pairs" }
parser:option("--root", "folder of the data set"):argname("DIR"):count(1)
parser:option("--list", "for pairs and pf-pascal: CSV with source_image, target_image, XA, YA, XB, YB"):argname("FILE")
parser:option("--protocol", "of pf-pascal: scnet (images of 224 x 224, as the paper) or box", "scnet")
  :choices { "scnet", "box" }
parser:option("--annotations", "of pf-willow, pf-pascal, caltech: truth from the list, or the archive's mat files",
  "list"):choices { "list", "mat" }
parser:option("--split", "of spair-71k: trn, val or test", "test"):choices { "trn", "val", "test" }
parser:option("--train-list", "of pf-pascal: report what its test pairs share with that list"):argname("FILE")
parser:option("--alpha", "thresholds of PCK and flow, joined by commas; default: 0.05,0.1,0.15, and 0.05 of tss and "
  .. "pascal-parts"):argname("A")
parser:option("--average", "of PCK: pair, the mean of all pairs' scores, or point, every keypoint counts the same",
  "pair"):choices { "pair", "point" }
parser:option("--model", "a trained network, or identity (the default), nearest, ransac-affine, ransac-homography, or "
  .. "untrained (features and --refine alone); several give a line each"):argname("FILE|NAME"):count("*")
parser:option("--second", "a single-stage network for the second stage; the first one's features serve both")
  :argname("FILE")
parser:option("--refine", "gradient steps on each pair's own soft inlier count"):argname("N"):convert(cli.count)
parser:flag("--starts", "let --refine begin also from eleven affine starts, not from the network's answer alone")
parser:option("--power", "sharpening of the correlation that --refine counts on", 4):argname("P"):convert(cli.positive)
parser:option("--precision", "of convolutions: bfloat16 is faster on devices that compute with it", "default")
  :choices { "default", "strict", "bfloat16" }
parser:option("--json", "write the tables and every pair's transformations and scores there"):argname("FILE")
parser:option("--csv", "write every pair's scores there"):argname("FILE")
parser:option("--table", "write the tables there, as CSV"):argname("FILE")
parser:option("--curve", "write PCK against alpha there, 0 to 0.3, as CSV"):argname("FILE")
parser:option("--flows", "of tss: write flows there, as {aff|tps|aff_tps}/<folder of the source>/flow<direction>.flo")
  :argname("DIR")
local args <const> = cli.parse(parser, arg)
if #args.model == 0 then
  args.model[1] = "identity"
elseif args.second and #args.model > 1 then
  cli.fail("--second joins one --model, got %d", #args.model)
end

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
    return benchmarks.caltech(args.root, { annotations = args.annotations })
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

-- What needs no network, by name.
local SIMPLE <const> = {
  identity = function() return la.evaluate.identity() end,
  nearest = function(features) return la.evaluate.nearest(features(), 240, "antialias") end,
  ["ransac-affine"] = function(features)
    return la.ransac.method(features(), { model = "affine", seed = args.seed })
  end,
  ["ransac-homography"] = function(features)
    return la.ransac.method(features(), { model = "homography", seed = args.seed })
  end,
}

local function default_features()
  return la.align.default_features():fuse { precision = args.precision }
end

local function load(name)
  if name == "untrained" then
    return nil
  end
  local model <const> = la.models.load(name)
  return (args.second and la.models.join(model, la.models.load(args.second)) or model):fuse {
    precision = args.precision,
  }
end

local function method(name)
  if SIMPLE[name] then
    return SIMPLE[name](default_features)
  end
  local model <const> = load(name)
  return la.evaluate.aligned(la.align.aligner {
    model = model, refine = args.refine, starts = model and args.starts or nil, power = args.power,
    precision = args.precision,
  })
end

-- ---- scores ----

local function alphas_of(text)
  local alphas <const>, known <const> = {}, {}
  for part in (text .. ","):gmatch "([^,]*)," do
    local alpha <const> = tonumber(part)
    if not alpha or not (alpha > 0 and alpha < math.huge) then
      cli.fail("--alpha must be numbers above 0 joined by commas, got '%s'", text)
    elseif known[alpha] then
      cli.fail("--alpha has %s twice", part)
    end
    known[alpha] = true
    alphas[#alphas + 1] = alpha
  end
  return alphas
end

local AT_005 <const> = { tss = true, ["pascal-parts"] = true } -- as the papers have it
local alphas <const> = alphas_of(args.alpha or AT_005[args.dataset] and "0.05" or "0.05,0.1,0.15")
local curve <const> = {}
for k = 1, args.curve and 60 or 0 do
  curve[k] = k * 0.005
end

local function file_name(path)
  local name <const> = path:match "([^/]+)$" or path
  return (name:gsub("%.safetensors$", ""):gsub("%.pth%.tar$", ""):gsub("%.pth?$", ""))
end

-- What a method is called in tables: a file by its name, or its path where two have that name, and how often it is
-- refined.
local function title(model)
  local name = SIMPLE[model] and model or file_name(model)
  for _, other in ipairs(args.model) do
    name = other ~= model and file_name(other) == name and model or name
  end
  return args.refine and args.refine > 0 and not SIMPLE[model] and name .. ", refined " .. args.refine or name
end

-- The rows of one method on all pairs.
local function run(model, list, name)
  local meter <const> = cli.progress("evaluate", #list)
  local rows <const> = la.evaluate.run(list, method(model), {
    alphas = table.move(curve, 1, #curve, #alphas + 1, table.move(alphas, 1, #alphas, 1, {})),
    flows = args.flows and (#args.model > 1 and args.flows .. "/" .. name or args.flows),
    progress = function(i) meter:update(i) end,
  })
  meter:finish()
  return rows
end

-- ---- files ----

-- PCK at many alphas: a column for each line of the table.
local function curve_csv(entries)
  local heads <const>, lines <const>, columns <const> = { "alpha" }, {}, {}
  for k = 1, #curve do
    lines[k], columns[k] = { curve[k] }, { k, function(row) return row.pck[#alphas + k] end }
  end
  for i, entry in ipairs(entries) do
    local all <const> = report.summary(entry, columns, args.average).all
    heads[i + 1] = entry.name
    for k = 1, #curve do
      lines[k][i + 1] = all[k]
    end
  end
  local out <const> = { report.csv_line(heads) }
  for k, line in ipairs(lines) do
    out[k + 1] = report.csv_line(line)
  end
  return table.concat(out, "\n") .. "\n"
end

-- NaN, which JSON does not have, as null.
local function plain(value)
  if type(value) == "table" then
    local out <const> = {}
    for key, item in pairs(value) do
      out[key] = plain(item)
    end
    return setmetatable(out, getmetatable(value))
  end
  return value ~= value and la.io.null or value
end

local function to_json(entries, summaries, groups)
  local methods <const> = {}
  for k, s in ipairs(summaries) do
    methods[k] = {
      name = s.name, means = s.all, class_means = s.classes, categories = s.categories,
      difficulty = groups and groups[k], pairs = entries[k].rows,
    }
  end
  return la.io.json_encode(plain {
    dataset = args.dataset, protocol = args.dataset == "pf-pascal" and args.protocol or nil, models = args.model,
    refine = args.refine, alphas = alphas, average = args.average, methods = methods,
  }) .. "\n"
end

-- ---- all of it ----

for _, name in ipairs(args.model) do
  if not SIMPLE[name] and name ~= "untrained" and not la.io.exists(name) then
    la.models.load(name) -- which says what is missing, before the first of several methods has run
  end
end
for _, name in ipairs { "json", "csv", "table", "curve" } do
  local folder <const> = args[name] and args[name]:match "^(.*)/[^/]*$"
  if folder and folder ~= "" and la.io.exists(folder) ~= "folder" then
    cli.fail("%s: cannot be written: there is no folder %s", args[name], folder)
  end
end

local list <const> = pairs_of_dataset()
if #list == 0 then
  cli.fail("%s: the list holds no pairs", args.root)
elseif not list[1].source_points and (args.curve or args.average == "point") then
  cli.fail("%s is of keypoints, which %s does not have", args.curve and "--curve" or "--average point", args.dataset)
end
if args.flows and not list[1].truth then
  cli.fail("--flows is of flow, which %s does not have", args.dataset)
elseif args.train_list then
  report_leakage(list)
end

local entries <const>, summaries <const> = {}, {}
for _, model in ipairs(args.model) do
  local name <const> = title(model)
  table.move(report.entries(name, run(model, list, name)), 1, 2, #entries + 1, entries)
end
local columns <const> = report.columns(entries[1].rows[1], alphas)
for k, entry in ipairs(entries) do
  summaries[k] = report.summary(entry, columns, args.average)
end
local groups <const> = list[1].difficulty and {} or nil
for k, entry in ipairs(groups and entries or {}) do
  groups[k] = require("lualign.data.spair").breakdown(entry.rows, columns, report.weight(args.average))
end

print(string.format("%s%s: %d pairs, %d classes; all is the mean over %s\n", args.dataset,
  args.dataset == "pf-pascal" and ", " .. args.protocol .. " protocol" or "", #list, #summaries[1].categories,
  args.average == "point" and "keypoints" or "pairs"))
for _, column in ipairs(groups and columns or {}) do
  print(report.by_group(summaries, groups, column[1]) .. "\n")
end
print(report.text(summaries, columns))

if args.csv then
  la.io.write_file(args.csv, report.pairs_csv(entries, columns))
end
if args.table then
  la.io.write_file(args.table, report.csv(summaries, columns))
end
if args.curve then
  la.io.write_file(args.curve, curve_csv(entries))
end
if args.json then
  la.io.write_file(args.json, to_json(entries, summaries, groups))
end

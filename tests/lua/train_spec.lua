-- SPDX-License-Identifier: MIT

local la <const> = require "lualign"
local rng_of <const> = require "lualign.util.rng"
local shared <const> = require "lib.shared"
local tmp <const> = require "lib.tmp"
local nn <const>, optim <const> = la.nn, la.optim

-- Lines on stderr are caught, not shown.
local function quietly(fn, ...)
  local said <const> = {}
  local stderr <const> = io.stderr
  io.stderr = { write = function(_, ...) said[#said + 1] = table.concat { ... } end } -- luacheck: ignore 122
  local result <const> = table.pack(pcall(fn, ...))
  io.stderr = stderr -- luacheck: ignore 122
  return table.concat(said), table.unpack(result, 1, result.n)
end

-- Items are random vectors; each batch notes which came.
local function make_data(count)
  local data <const> = { seen = {}, prefetched = {} }
  function data:length() -- luacheck: no self
    return count
  end
  function data:prefetch(indices, rng)
    self.prefetched[#self.prefetched + 1] = table.concat(indices, ",") .. ":" .. rng(indices[1]):bits()
  end
  function data:batch(indices, rng)
    self.seen[#self.seen + 1] = table.concat(indices, ",") .. ":" .. rng(indices[1]):bits()
    local rows <const> = {}
    for k, i in ipairs(indices) do
      local r <const> = rng(i)
      rows[k] = { r:normal(), r:normal(), r:normal(), i / count }
    end
    return { x = la.tensor(rows) }
  end
  return data
end

-- A run with everything that has state: batch norm, dropout (the device's generator), Adam, math.random.
local function make_run(out, given)
  la.seed(11)
  local net <const> = nn.Sequential {
    nn.Linear { 4, 8 }, nn.BatchNorm2d { 8 }, nn.ReLU(), nn.Dropout { p = 0.2 }, nn.Linear { 8, 1 },
  }
  local data <const> = make_data(22)
  local o <const> = {
    model = net, data = data, optimizer = optim.Adam(net:parameters(), { lr = 0.01 }),
    schedule = optim.schedule.cosine { steps = 12, warmup = 2 }, clip_norm = 1,
    steps = 12, batch = 4, seed = 5, out = out, log_every = 2, checkpoint_every = 3,
    step = function(batch)
      local y <const> = net(batch.x)
      local goal <const> = batch.x:sum { 2 }:reshape(4, 1) * (1 + 0.1 * math.random())
      return ((y - goal) * (y - goal)):mean()
    end,
  }
  for name, value in pairs(given or {}) do
    o[name] = value
  end
  return o
end

local function state_bytes(o)
  local parts <const> = {}
  for _, list in ipairs { o.model:state_dict(), o.optimizer:state_dict() } do
    for _, entry in ipairs(list) do
      parts[#parts + 1] = entry[1] .. "=" .. entry[2]:bytes()
    end
  end
  local seed <const>, counter <const> = la.device.seed_state()
  return table.concat(parts, "|") .. seed .. "," .. counter
end

describe("train.run", function()
  local dir
  before_each(function() dir = tmp.dir() end)
  after_each(function() tmp.remove(dir) end)

  local function run(o)
    local text <const>, ok <const>, result <const> = quietly(la.train.run, o)
    assert.is_true(ok, result)
    return result, text
  end

  local function fails(message, o)
    local text <const>, ok <const>, got <const> = quietly(la.train.run, o)
    assert.is_false(ok)
    assert.truthy(tostring(got):find(message, 1, true), string.format("'%s' is not in '%s'", message, tostring(got)))
    return text
  end

  -- The log's rows without the seconds.
  local function log()
    local rows <const> = {}
    for line in tmp.read(dir .. "/log.tsv"):gmatch "[^\n]+" do
      rows[#rows + 1] = line:gsub("^(%d+\t%d*\t[^\t]*\t[^\t]*\t)[%d.]+", "%1")
    end
    return rows
  end

  it("goes on from a checkpoint with the bits of a run that was never stopped", function()
    local straight <const> = make_run(dir .. "/a")
    run(straight)
    for _, stop in ipairs { 4, 8, 9, 12 } do -- in the middle of epochs of 5 steps, before and after checkpoints
      local o = make_run(dir)
      local step <const> = o.step
      o.step = function(batch, info)
        if info.step == stop then
          error("killed", 0)
        end
        return step(batch)
      end
      fails("killed", o)
      local rows <const> = log()
      o = make_run(dir, { resume = true })
      la.seed(99) -- of no importance: the checkpoint knows better
      run(o)
      assert.equal(state_bytes(straight), state_bytes(o))
      assert.same(table.move(straight.data.seen, (stop - 1) // 3 * 3 + 1, 12, 1, {}), o.data.seen)
      assert.equal(1 + 6, #log())
      assert.is_true(#rows <= 7)
      tmp.remove(dir .. "/last.safetensors")
    end
  end)

  -- A run of its own in the program: script(folder, step, command), which runs a shell command at a step.
  local function program_run(name, steps, ...)
    local program <const> = require("lib.run")
    if not tmp.exists(program.program) then
      shared.pending "needs the program (LUALIGN_BUILD)"
    end
    local script <const> = [[
      package.path = "%s/tests/?.lua;" .. package.path
      local la = require "lualign"
      la.seed(3)
      local net = la.nn.Linear { 3, 2 }
      local data = { length = function() return 9 end }
      function data:batch(indices, rng)
        local rows = {}
        for k, i in ipairs(indices) do rows[k] = { rng(i):normal(), rng(i):normal(), i } end
        return { x = la.tensor(rows) }
      end
      la.train.run {
        model = net, data = data, optimizer = la.optim.Adam(net:parameters(), { lr = 0.1 }), steps = %d, batch = 3,
        out = arg[1], checkpoint_every = 4, resume = true, log_every = 1000,
        step = function(batch, info)
          if info.step == tonumber(arg[2]) then os.execute(arg[3]) end
          return (net(batch.x) ^ 2):mean()
        end,
      }
      for _, entry in ipairs(net:state_dict()) do print(entry[1], table.concat(entry[2]:flat(), " ")) end
    ]]
    tmp.write(dir .. "/script.lua", string.format(script, shared.repository, steps))
    return program { dir .. "/script.lua", dir .. "/" .. name, ... }
  end

  it("survives a kill", function()
    local straight <const> = program_run("a", 10)
    assert.equal(0, straight.status, straight.err)
    assert.not_equal(0, program_run("b", 10, "7", "kill -9 $PPID").status)
    assert.same({ "last.safetensors", "log.tsv" }, tmp.list(dir .. "/b"))
    local resumed <const> = program_run("b", 10)
    assert.equal(0, resumed.status, resumed.err)
    assert.truthy(resumed.err:find("resumed after step 4", 1, true), resumed.err)
    assert.equal(straight.out, resumed.out)
  end)

  it("saves and ends with status 130 at Ctrl-C", function()
    -- far more steps than can be made before the signal comes
    local stopped <const> = program_run("c", 100000000, "3", "(sleep 0.1; kill -INT $PPID) &")
    assert.equal(130, stopped.status, stopped.err)
    local step <const> = tonumber(stopped.err:match "last.safetensors holds step (%d+)")
    assert.truthy(step, stopped.err)
    local _, metadata <const> = la.io.load_safetensors(dir .. "/c/last.safetensors")
    assert.equal(tostring(step), metadata.step)
    local resumed <const> = program_run("c", step + 5)
    assert.equal(0, resumed.status, resumed.err)
    assert.equal(program_run("d", step + 5).out, resumed.out)
  end)

  it("keeps the files that it promises", function()
    local o <const> = make_run(dir)
    local result <const>, text <const> = run(o)
    assert.same({ "last.safetensors", "log.tsv" }, tmp.list(dir))
    assert.equal(12, result.steps)
    local rows <const> = log()
    assert.equal("step\tepoch\tloss\tlr\tseconds\tvalidation", rows[1])
    assert.equal(7, #rows)
    assert.truthy(rows[2]:find "^2\t1\t%d+%.%d+\t0.01\t")
    assert.truthy(rows[7]:find "^12\t3\t")
    for _, what in ipairs {
      "lualign " .. la.version, "seed 5", "batch = 4", "clip_norm = 1", "Adam(", "65 parameters", "22 items",
      "12 steps", "results in " .. dir, "step 12/12", "items/s  peak ",
    } do
      assert.truthy(text:find(what, 1, true), what .. " is not in " .. text)
    end
  end)

  it("shows every item once in an epoch, in an order of its own, and looks ahead", function()
    local o <const> = make_run(dir, { steps = 10 })
    run(o)
    for epoch = 1, 2 do
      local items <const> = {}
      for k = 5 * epoch - 4, 5 * epoch do
        for i in o.data.seen[k]:match "^[^:]*":gmatch "%d+" do
          assert.is_nil(items[i])
          items[i] = true
        end
      end
    end
    assert.not_equal(o.data.seen[1], o.data.seen[6])
    assert.same(table.move(o.data.seen, 2, 10, 1, {}), o.data.prefetched)
    local epochs <const> = make_run(dir .. "/e", { epochs = 2 })
    epochs.steps = nil
    assert.equal(10, run(epochs).steps)
    assert.same(o.data.seen, epochs.data.seen)
    local few <const> = make_run(dir .. "/f", { batch = 30, steps = 2, step = function() return la.ones(1) end })
    few.step = function(batch) return few.model(batch.x):mean() end
    run(few) -- fewer items than a batch: all of them
    assert.equal(22, select(2, few.data.seen[1]:match "^[^:]*":gsub("%d+", "")))
  end)

  it("keeps the best model by what validation says", function()
    local scores <const> = { 0.1, 0.7, 0.3, 0.7, 0.2, 0.6 }
    local o <const>, calls, bytes = make_run(dir, { validate_every = 2, best = "score" }), 0, nil
    o.model:eval()
    o.validate = function()
      calls = calls + 1
      assert.is_false(la.grad_enabled())
      o.model:train(false)
      if calls == 2 then
        bytes = o.model[1].weight:bytes()
      end
      return { score = scores[calls], other = -calls }
    end
    local step <const> = o.step
    o.step = function(batch)
      o.model[2]:train()
      assert.is_false(o.model.training)
      return step(batch)
    end
    local result <const>, text <const> = run(o)
    assert.equal(6, calls)
    assert.equal(0.7, result.best)
    assert.is_true(o.model[2].training)
    assert.equal(bytes, la.io.load_safetensors(dir .. "/best.safetensors")["0.weight"]:bytes())
    assert.truthy(text:find("validation at step 4: other -2.00000, score 0.70000, the best so far", 1, true), text)
    assert.truthy(log()[3]:find("^2\t\t\t\t\tother %-1.00000, score 0.10000"))
    local least <const> = make_run(dir .. "/min", { validate_every = 2, best_is = "min" })
    calls = 0
    least.validate = function()
      calls = calls + 1
      return scores[calls]
    end
    assert.equal(0.1, run(least).best)
  end)

  it("asks the device for nothing after the second step", function()
    local o <const> = make_run(dir, { checkpoint_every = 1000, log_every = 1000 })
    local step <const>, allocations = o.step, nil
    o.step = function(batch, info)
      if info.step == 3 then
        allocations = la.device.memory().allocations
      end
      return step(batch)
    end
    o.validate = function()
      assert.equal(allocations, la.device.memory().allocations)
      return 0
    end
    run(o)
    assert.truthy(allocations)
  end)

  -- Page faults so far, and resident pages; nil where /proc does not say.
  local function pages()
    local file <close> = io.open "/proc/self/stat"
    local fields <const> = {}
    for field in (file and file:read("a"):match "%)%s*(.*)$" or ""):gmatch "%S+" do
      fields[#fields + 1] = field
    end
    return tonumber(fields[8]), tonumber(fields[22])
  end

  it("touches no fresh page after the third step but those of scripts", function()
    if not pages() or la.device.info().type ~= "cpu" or os.getenv "ASAN_OPTIONS" or os.getenv "LUALIGN_POOL" then
      shared.pending "needs /proc, memory of the host, and none of it held back"
    end
    local net <const> = nn.Sequential {
      nn.Conv2d { 3, 64, kernel = 3, padding = 1 }, nn.ReLU(), nn.Conv2d { 64, 64, kernel = 3, padding = 1 },
      nn.ReLU(), nn.Conv2d { 64, 32, kernel = 3, padding = 1 },
    }
    local optimizer <const>, x <const> = optim.Adam(net:parameters()), la.rand(4, 60, 60, 3)
    local faults, resident
    for step = 1, 13 do
      la.scope(function()
        optimizer:zero_grad()
        local loss <const> = net(x):mean()
        loss:backward()
        optimizer:step()
        loss:item()
      end)
      if step == 3 then
        faults, resident = pages()
      end
    end
    local faults_then <const>, resident_then <const> = pages() -- a feature map has 900 pages
    assert.is_true(faults_then - faults < 10 * 64, faults_then - faults)
    assert.is_true(resident_then - resident < 256, resident_then - resident)
  end)

  it("reads the model back from its checkpoint", function()
    la.seed(2)
    local net <const> = la.models.weakalign {
      backbone = { { "mobilenetv2", layers = { 1 }, weights = false } }, stages = { "affine" }, size = 176,
    }
    local data <const> = { length = function() return 1 end }
    function data:batch() -- luacheck: no self
      return { source = la.rand(1, 176, 176, 3) * 255, target = la.rand(1, 176, 176, 3) * 255 }
    end
    net:eval()
    run {
      model = net, data = data, optimizer = optim.SGD(net:regressor_parameters(), { lr = 0.1 }), steps = 1, batch = 1,
      out = dir, step = function(pair) return net(pair.source, pair.target).affine:sum() end,
      validate = function() return 1 end,
    }
    for _, name in ipairs { "last", "best" } do
      local again <const> = la.models.load(string.format("%s/%s.safetensors", dir, name))
      assert.equal(net.FeatureRegression.linear.bias:bytes(), again.FeatureRegression.linear.bias:bytes())
    end
  end)

  it("stops at a loss that is no number, before it saves that", function()
    local o <const> = make_run(dir)
    local step <const> = o.step
    o.step = function(batch, info)
      return info.step == 5 and step(batch) * (0 / 0) or step(batch)
    end
    fails("the loss is not a number at step 5", o)
    local _, metadata <const> = la.io.load_safetensors(dir .. "/last.safetensors")
    assert.equal("3", metadata.step)
  end)

  it("says what is wrong", function()
    fails("needs either steps or epochs", make_run(dir, { epochs = 1 }))
    fails("data has no items", make_run(dir, { data = make_data(0) }))
    fails("unknown option 'epoch', did you mean 'epochs'?", make_run(dir, { epoch = 1 }))
    fails("batch must be a whole number, at least 1, got 0", make_run(dir, { batch = 0 }))
    fails("best_is must be max or min, got 'least'", make_run(dir, { best_is = "least" }))
    fails("step must return a loss, a tensor of one element, got (4)",
      make_run(dir, { step = function(batch) return batch.x:sum { 2 } end }))
    fails("gave no number 'pck'", make_run(dir, { validate = function() return { PCK = 1 } end, best = "pck" }))
    fails("there is no checkpoint '" .. dir .. "/x' to resume from", make_run(dir, { resume = dir .. "/x" }))
    run(make_run(dir))
    fails("was made with seed 5, this run has 6", make_run(dir, { seed = 6, resume = true }))
    fails("was made with batch 4, this run has 5", make_run(dir, { batch = 5, resume = true }))
    local other <const> = make_run(dir, { resume = true })
    other.optimizer = optim.SGD(other.model:parameters(), { lr = 1, momentum = 0.9 })
    fails("SGD: load_state_dict: 1.buffer must be (8, 4), got nothing", other)
    la.models.save(dir .. "/model.safetensors", la.models.features {
      trunks = { { "mobilenetv2", layers = { 0 }, weights = false } },
    })
    fails("is no checkpoint of a training run", make_run(dir, { resume = dir .. "/model.safetensors" }))
  end)
end)

describe("the host's generator", function()
  it("depends on its keys alone", function()
    assert.equal(rng_of(1, 2, 3):bits(), rng_of(1, 2, 3):bits())
    local seen <const> = {}
    for a = 0, 9 do
      for b = 0, 9 do
        for _, r in ipairs { rng_of(a, b), rng_of(a, b, 0), rng_of(b, 0, a, 1) } do
          local bits <const> = r:bits()
          assert.is_nil(seen[bits])
          seen[bits] = true
        end
      end
    end
    assert.equal(6301985355436268297, rng_of(1):bits()) -- the same on every machine, for good
    assert.has_error(function() rng_of(1.5) end, "rng: keys must be whole numbers, got 1.5")
  end)

  it("is uniform, normal, and permutes", function()
    local r <const> = rng_of(7)
    local sum, square, counts = 0, 0, { 0, 0, 0 }
    for _ = 1, 20000 do
      local u <const> = r:uniform(-1, 3)
      assert.is_true(u >= -1 and u < 3)
      sum = sum + r:normal()
      square = square + r:normal() ^ 2
      local k <const> = r:integer(1, 3)
      counts[k] = counts[k] + 1
    end
    assert.is_true(math.abs(sum / 20000) < 0.03)
    assert.is_true(math.abs(square / 20000 - 1) < 0.05)
    for k = 1, 3 do
      assert.is_true(math.abs(counts[k] / 20000 - 1 / 3) < 0.02)
    end
    local list <const> = r:permutation(50)
    assert.not_same(r:permutation(50), list)
    table.sort(list)
    for i = 1, 50 do
      assert.equal(i, list[i])
    end
  end)
end)

-- SPDX-License-Identifier: MIT
--
-- la.repl: the prompt. A line is an expression, whose values are printed, or a statement; lines follow as long as it is
-- not complete. A ; at the end keeps an expression quiet, _ is the last value, `local` at the outermost level lasts
-- until the end, ?name explains. Started by the program; repl.run() works under stock Lua too, without line editing.

local la <const> = require "lualign"
local locals <const> = require "lualign.util.locals"
local show <const> = require "lualign.util.show"

local has_program <const>, program <const> = pcall(require, "lualign.program")

local repl <const> = {}

-- ---- reading ----

--- Compiles what was typed so far. Returns a function and whether its values are to be shown; or nil, "more" when the
-- text is not complete; or nil and the message of a syntax error.
function repl.compile(text)
  local quiet <const> = text:match ";%s*$"
  local expression <const>, expected <const> = load("return " .. text, "=stdin", "t")
  if expression then
    return expression, not quiet
  end
  local statement <const>, message <const> = load(text, "=stdin", "t")
  if statement then
    local global <const>, problem <const> = locals.to_globals(text)
    if not global then
      return nil, problem
    end
    return assert(load(global, "=stdin", "t")), true
  end
  if message:match "<eof>'?$" or expected:match "<eof>'?$" then
    return nil, "more"
  end
  return nil, message
end

-- nil at the end of the input, false when Ctrl-C gave up the line
local function read_line(prompt)
  if has_program then
    program.arm()
    program.defer(true)
    return program.read_line(prompt)
  end
  io.stdout:write(prompt)
  io.stdout:flush()
  return io.read "l"
end

-- One complete chunk: function and whether to show, after asking for as many lines as it takes; nil at the end of the
-- input. A syntax error, or Ctrl-C, gives an empty function or the error to report.
local function read_chunk()
  local text = nil
  while true do
    local line <const> = read_line(text and ">> " or "> ")
    if line == nil then
      if text == nil then
        return nil
      end
      local _, message <const> = load(text, "=stdin", "t")
      return function() error(message, 0) end, false
    end
    if line == false then -- Ctrl-C
      text = nil
    else
      text = text and text .. "\n" .. line or line
      local topic <const> = text:match "^%s*%?(.*)$"
      if topic then
        return function() la.help(topic) end, false, text
      end
      if text:match "^%s*$" then
        text = nil
      else
        local chunk <const>, how <const> = repl.compile(text)
        if chunk or how ~= "more" then
          return chunk or function() error(how, 0) end, chunk and how, text
        end
      end
    end
  end
end

-- ---- evaluating ----

local function keep_last(...)
  if select("#", ...) > 0 then
    _G._ = (...)
  end
end

local function print_values(...)
  for i = 1, select("#", ...) do
    print(show((select(i, ...))))
  end
end

-- The message handler: the program's, which leaves out frames that are not the user's.
local function handler(err)
  if has_program then
    return program.trace(err)
  end
  return type(err) == "string" and err or show(err)
end

local function finish(visible, ok, ...)
  if not ok then
    io.stderr:write(tostring((...)), "\n")
    return false
  end
  keep_last(...)
  if visible then
    local printed <const>, problem <const> = xpcall(print_values, handler, ...)
    if not printed then
      io.stderr:write("the value cannot be shown: ", tostring(problem), "\n")
    end
  end
  return true
end

--- Runs a compiled chunk, shows its values or its error; whether it went well.
function repl.evaluate(chunk, visible)
  if has_program then
    program.arm()
    program.defer(false)
  end
  local ok <const> = finish(visible, xpcall(chunk, handler))
  io.stdout:flush()
  return ok
end

-- ---- completion ----

local function add_names(names, container, head, start)
  for key in pairs(container) do
    if type(key) == "string" and key:match "^[%a_][%w_]*$" and key:sub(1, #start) == start then
      names[head .. key] = true
    end
  end
end

-- The tables whose names follow a value: itself, its class and the classes of that; for la also what is not yet loaded.
local function containers(value)
  local list <const> = {}
  if la.is_tensor(value) then
    return { require("lualign.core").methods, { grad = true, dtype = true, requires_grad = true } }
  end
  local seen <const> = {}
  while type(value) == "table" and not seen[value] do
    seen[value] = true
    list[#list + 1] = value
    local class <const> = getmetatable(value)
    if value == la then
      list[#list + 1] = class.submodules
    end
    value = type(class) == "table" and rawget(class, "__index") or nil
  end
  if type(value) == "string" then
    list[1] = string
  end
  return list
end

local keywords <const> = {
  "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil", "not",
  "or", "repeat", "return", "then", "true", "until", "while",
}

--- Words that may follow: those that begin with `word`, sorted. Nothing is called, but modules of la are loaded.
function repl.complete(word, line)
  local names <const> = {}
  local path <const>, start <const> = word:match "^(.-)([%w_]*)$"
  if line and line:match "^%s*%?" then
    for _, topic in ipairs(la.help.topics()) do
      if topic:sub(1, #word) == word then
        names[topic] = true
      end
    end
  end
  if path == "" then
    add_names(names, _G, "", start)
    for _, keyword in ipairs(keywords) do
      if keyword:sub(1, #start) == start then
        names[keyword] = true
      end
    end
  else
    local value = _G
    for key in path:gmatch "[%w_]+" do
      local is_module <const> = value == la and getmetatable(la).submodules[key]
      if type(value) == "table" then
        value = is_module and la[key] or rawget(value, key)
      else
        value = nil
      end
    end
    for _, container in ipairs(containers(value)) do
      add_names(names, container, path, start)
    end
  end
  local list <const> = {}
  for name in pairs(names) do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

-- ---- the loop ----

local function history_folder()
  local state <const> = os.getenv "XDG_STATE_HOME"
  local home <const> = os.getenv "HOME"
  if state and state ~= "" then
    return state .. "/lualign"
  end
  return home and home .. "/.local/state/lualign"
end

local function loop(remember)
  while true do
    local chunk <const>, visible <const>, text <const> = read_chunk()
    if not chunk then
      return
    end
    if text then
      remember(text)
    end
    repl.evaluate(chunk, visible)
  end
end

local function run_interactive()
  local folder <const> = history_folder()
  if folder then
    program.load_history(folder .. "/history")
  end
  program.set_completer(repl.complete)
  print(string.format("lualign %s · ?topic for help", la.version))
  loop(program.add_history)
  print()
  if folder then
    local saved <const>, problem <const> = program.save_history(folder, "history")
    if not saved then
      warn("lualign: " .. problem)
    end
  end
end

--- Reads, runs and prints until the end of the input. At a terminal with a banner and a prompt.
function repl.run()
  if has_program and program.is_interactive() then
    run_interactive()
  else
    loop(function() end)
  end
end

return setmetatable(repl, { __call = function() repl.run() end })

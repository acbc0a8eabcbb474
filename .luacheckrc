-- luacheck settings: plain Lua 5.4, no globals of our own.
std = "lua54"
max_line_length = 120
codes = true
quiet = 1
include_files = { "lua/**/*.lua", "scripts/**/*.lua", "tests/**/*.lua", "**/*.rockspec", "**/.luacheckrc" }
ignore = {
  "212/_.*", -- unused arguments whose names say so
  "581", -- `not (a <= b)` is not `a > b` for NaN, which is why it is written so
}
files["tests/**/*_spec.lua"] = { std = "+busted" }
files["**/*.rockspec"] = { std = "rockspec" }
files["**/.luacheckrc"] = { std = "luacheckrc" }

-- SPDX-License-Identifier: MIT
rockspec_format = "3.0"
package = "lualign"
version = "scm-0"
source = {
  url = "git+https://localhost/lualign.git", -- where you cloned it from; `luarocks make` needs none
}
description = {
  summary = "Semantic alignment of photographs, on any OpenCL device",
  detailed = [[
    Tensors, gradients and the operations of weakly supervised semantic alignment as OpenCL kernels, with Lua to say
    what to do with them. `luarocks make` in a checkout builds and installs the Lua module; the system must have the
    libraries that third_party/README.md lists.
  ]],
  license = "MIT",
  labels = { "opencl", "machine-learning", "image" },
}
dependencies = {
  "lua ~> 5.4",
  "argparse >= 0.7",
  "luafilesystem >= 1.8",
}
build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "Release",
    CMAKE_INSTALL_PREFIX = "$(PREFIX)",
    LUALIGN_TESTS = "OFF",
    LUALIGN_LUA_DIR = "$(LUADIR)",
    LUALIGN_LUA_LIBDIR = "$(LIBDIR)",
  },
}

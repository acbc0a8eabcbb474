-- SPDX-License-Identifier: MIT
--
-- busted.lua -- runs specs with busted inside the program that loads this file, so that they use its build of lualign:
--
--   build/lualign tests/lib/busted.lua tests/ops/relu_spec.lua [busted's options]
--
-- Specs find the files of tests/lib as `require "lib.plain"`.

local tests <const> = arg[0]:match "^(.*)/lib/[^/]*$" or "tests"
package.path = tests .. "/?.lua;" .. package.path

require "busted.runner" { standalone = false }

-- SPDX-License-Identifier: MIT
--
-- WeakAlign with the trunk resnet101 against the authors' network in double precision: see lib/weakalign_network.lua.

require("lib.weakalign_network").specs "resnet101"

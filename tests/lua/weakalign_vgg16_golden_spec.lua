-- SPDX-License-Identifier: MIT
--
-- WeakAlign with the trunk vgg16 against the authors' network in double precision: see lib/weakalign_network.lua.

require("lib.weakalign_network").specs "vgg16"

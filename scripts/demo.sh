#!/bin/sh
# SPDX-License-Identifier: MIT
#
# From nothing to aligned pictures: installs what is missing, builds, then trains a network on drawn figures and shows
# what it learnt. Pictures and checkpoint go to runs/demo. Options are passed on to scripts/demo.lua.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
sh "$root/scripts/setup.sh"
exec "$root/build/lualign" "$root/scripts/demo.lua" --out "$root/runs/demo" "$@"

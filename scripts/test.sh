#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every test: installs what is missing, builds, then runs ctest, whose summary is the last thing printed. The op specs run
# on each OpenCL implementation that is found; other compilers, sanitizers and Oclgrind are entries too.
#
#   sh scripts/test.sh [ctest's options, such as -R conv2d or -LE slow]
#   JOBS=N   entries at a time (default: one per processor)
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
sh "$root/scripts/setup.sh" --tests
cd "$root"

devices=$(build/lualign scripts/dev/test_devices.lua)
main=$(echo "$devices" | head -n 1)
others=$(echo "$devices" | tail -n +2)
echo "test: on $main${others:+, then $(echo "$others" | paste -s -d,)}"
cmake --preset release -DLUALIGN_TESTS=ON -DLUALIGN_TEST_ALL=ON -DLUALIGN_TEST_DEVICE="$main" \
    -DLUALIGN_TEST_DEVICES="$(echo "$others" | paste -s -d';')" >/dev/null
exec ctest --test-dir build --output-on-failure --no-tests=error -j "${JOBS:-$(nproc 2>/dev/null || echo 2)}" "$@"

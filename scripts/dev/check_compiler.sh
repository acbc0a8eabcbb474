#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh scripts/dev/check_compiler.sh BUILD_DIR CC: builds everything with another compiler, warnings as errors, and runs the
# unit tests of that build.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$1/$(basename "$2")
log=$build.log
cmake -G Ninja -S "$root" -B "$build" -DCMAKE_C_COMPILER="$2" -DCMAKE_BUILD_TYPE=Release -DLUALIGN_WERROR=ON \
    -DLUALIGN_TEST_DEVICE="${LUALIGN_DEVICE:-cpu}" >"$log" 2>&1 || { cat "$log"; exit 1; }
cmake --build "$build" >"$log" 2>&1 || { tail -100 "$log"; exit 1; }
ctest --test-dir "$build" --output-on-failure --no-tests=error -L '^unit$'

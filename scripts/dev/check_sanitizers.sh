#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh scripts/dev/check_sanitizers.sh BUILD_DIR: builds with AddressSanitizer and UndefinedBehaviorSanitizer, and warnings
# as errors, below BUILD_DIR, and runs the unit and op tests there.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
build=$1/sanitizers
log=$build.log
cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLUALIGN_SANITIZE=address,undefined \
    -DLUALIGN_WERROR=ON -DLUALIGN_TEST_DEVICE="${LUALIGN_DEVICE:-cpu}" >"$log" 2>&1 || { cat "$log"; exit 1; }
cmake --build "$build" >"$log" 2>&1 || { tail -100 "$log"; exit 1; }
ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$(nproc 2>/dev/null || echo 2)" -L '^(unit|op)$'

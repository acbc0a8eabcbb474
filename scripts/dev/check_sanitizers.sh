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

run() {
    ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$(nproc 2>/dev/null || echo 2)" "$@"
}
if run -L '^(unit|op)$' >"$log" 2>&1; then
    tail -5 "$log"
    exit 0
fi
cat "$log"
# Once in some hundred runs LeakSanitizer itself crashes while it stops the threads of an OpenCL driver that are ending
# ("Tracer caught signal 11"), after the tests have passed. Entries that failed so, and no others, run once more.
crashed=$(grep -c 'LeakSanitizer has encountered a fatal error' "$log" || true)
failed=$(grep -c '\*\*\*' "$log" || true)
[ "$crashed" -gt 0 ] && [ "$crashed" -eq "$failed" ] || exit 1
echo "LeakSanitizer crashed in $crashed entries, once more:"
run --rerun-failed

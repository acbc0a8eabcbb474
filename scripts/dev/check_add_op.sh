#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh scripts/dev/check_add_op.sh WORK_DIR: does what CONTRIBUTING.md says about adding an operation, in a copy of the tree
# below WORK_DIR, builds the copy and runs the new spec there through ctest. The three files and the row are taken from
# the page's code blocks: those marked new=FILE and row=FILE.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
copy=$1/add_op
rm -rf "$copy"
mkdir -p "$copy"
(cd "$root" && tar -cf - --exclude=third_party/weights \
    CMakeLists.txt CMakePresets.json cl lua scripts src tests third_party) | tar -xf - -C "$copy"

awk -v copy="$copy" '
    /^```/ && out != "" { close(out); out = ""; next }
    /^```[a-z]+ (new|row)=/ {
        split($2, part, "=")
        out = copy "/" part[2]
        if (part[1] == "new") {
            if ((getline line < out) >= 0) { print out " is there already" > "/dev/stderr"; exit 1 }
            files++
        } else
            rows++
        next
    }
    out != "" { print >> out }
    END { if (files != 3 || rows != 1) { print files + 0 " files and " rows + 0 " rows, expected 3 and 1"; exit 1 } }
' "$root/CONTRIBUTING.md"

cd "$copy"
cmake --preset dev -DCMAKE_C_FLAGS=-O0 -DLUALIGN_TEST_DEVICES= >cmake.log 2>&1 || { cat cmake.log; exit 1; }
cmake --build --preset dev >build.log 2>&1 || { tail -50 build.log; exit 1; }
ctest --preset dev -R 'ops[./]softsign' --no-tests=error

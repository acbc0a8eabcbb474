#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh scripts/dev/format.sh [--check]: lays out C and OpenCL C as .clang-format says; --check only names the files that
# are not, and ends with status 1. Releases of clang-format differ in details, so that only version 14 (Debian 12's)
# decides; status 77 means that it is not here.
set -u

cd "$(dirname "$0")/../.." || exit 1
tool=
for name in clang-format-14 clang-format; do
    if "$name" --version 2>/dev/null | grep -q 'version 14\.'; then
        tool=$name
        break
    fi
done
if [ -z "$tool" ]; then
    echo "format: clang-format 14 is not here"
    exit 77
fi

files=$(find src tests cl -type f \( -name '*.[ch]' -o -name '*.cl' -o -name '*.clh' \) | sort)
case ${1:-} in
--check)
    wrong=0
    for f in $files; do
        if ! "$tool" --style=file "$f" | cmp -s - "$f"; then
            echo "$f: not as clang-format lays it out (sh scripts/dev/format.sh)"
            wrong=1
        fi
    done
    exit $wrong
    ;;
"") "$tool" --style=file -i $files ;;
*)
    echo "format: unknown option '$1' (known: --check)" >&2
    exit 1
    ;;
esac

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh scripts/dev/oclgrind.sh OCLGRIND COMMAND...: runs a command on Oclgrind's simulated device. Fails if the command
# does, or if Oclgrind reports an invalid access, a race or a wrong use of OpenCL.
set -u

oclgrind=$1
shift
log=$(mktemp "${TMPDIR:-/tmp}/lualign-oclgrind.XXXXXX") || exit 1
trap 'rm -f "$log"' EXIT

"$oclgrind" --data-races --check-api --max-errors 20 --log "$log" "$@"
code=$?
if [ -s "$log" ]; then
    echo "oclgrind reports:"
    head -100 "$log"
    exit 1
fi
exit $code

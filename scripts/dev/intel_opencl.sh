#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Puts Intel's OpenCL runtime for CPUs beside the OpenCL implementations that the system has, for testing with a second
# vendor's compiler. It also runs on AMD processors. Its licence allows use, not redistribution: it is fetched from the
# Python package index (some 270 MB) into a folder outside the checkout, once.
#
#   eval "$(sh scripts/dev/intel_opencl.sh)"
#
# Prints a shell assignment on standard output, progress and complaints on standard error. If the
# runtime cannot be had it prints nothing there and exits 1.
#   LUALIGN_INTEL_DIR   where to keep it (default: ~/.cache/lualign-intel-opencl)
#   PYTHON              which python3 to use
set -u

dir=${LUALIGN_INTEL_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lualign-intel-opencl}
python=${PYTHON:-python3}
say() { echo "intel_opencl: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || fail "the runtime exists for Linux on x86_64 only"

# The wheels bring a loader of their own (libOpenCL*), which must not shadow the system's.
fetch() {
    "$python" -m pip --version >/dev/null 2>&1 || fail "needs $python with pip (package python3-pip)"
    tmp=$(mktemp -d "$dir.XXXXXX") || return 1
    say "downloading intel-opencl-rt, intel-cmplr-lib-rt and tbb"
    "$python" -m pip download --quiet --no-deps --only-binary :all: --disable-pip-version-check -d "$tmp/wheels" \
        intel-opencl-rt intel-cmplr-lib-rt tbb >&2 &&
        "$python" - "$tmp" <<'PYTHON'
import glob, hashlib, os, sys, zipfile
top = sys.argv[1]
seen = {}  # wheels hold no symbolic links, but up to three copies of one library
os.makedirs(top + "/lib")
for wheel in glob.glob(top + "/wheels/*.whl"):
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            base = os.path.basename(name)
            if "/data/lib/" in name and base and not base.startswith("libOpenCL"):
                inner = name.split("/data/lib/", 1)[1]
                path = os.path.join(top, "lib", inner)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                data = z.read(name)
                first = seen.setdefault(hashlib.sha256(data).digest(), path)
                if first != path:
                    os.link(first, path)
                else:
                    with open(path, "wb") as f:
                        f.write(data)
if not os.path.exists(top + "/lib/libintelocl.so"):
    sys.exit("intel_opencl: no libintelocl.so in the wheels")
PYTHON
    code=$?
    rm -rf "$tmp/wheels"
    if [ $code -eq 0 ]; then
        rm -rf "$dir" && mv "$tmp" "$dir"
    else
        rm -rf "$tmp"
        return 1
    fi
}

if [ ! -f "$dir/lib/libintelocl.so" ]; then
    mkdir -p "$(dirname "$dir")" || fail "cannot create $(dirname "$dir")"
    fetch || fail "Intel's runtime is not to be had here (is the Python package index reachable?)"
fi

# One folder of .icd files: the system's, then Intel's.
mkdir -p "$dir/vendors" || fail "cannot write to $dir"
for icd in "${OCL_ICD_VENDORS:-/etc/OpenCL/vendors}"/*.icd; do
    case $icd in "$dir"/*) continue ;; esac
    [ -f "$icd" ] && cp "$icd" "$dir/vendors/"
done
echo "$dir/lib/libintelocl.so" >"$dir/vendors/intel.icd"

# Its libraries find each other by their own run path: one variable is all.
echo "export OCL_ICD_VENDORS='$dir/vendors'"

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs what lualign needs and is not there (Debian and Ubuntu, as root or with sudo), then builds it into build/.
# Elsewhere, or without the rights, it says what to install and ends with status 1.
#
#   sh scripts/setup.sh [--tests] [--no-build]
#     --tests      also what the tests need; the tests are then built too
#     --no-build   install only
#   LUALIGN_NO_APT=1 leaves the system's packages alone: what is there must do.
set -u

root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
tests=OFF
build=yes
for word in "$@"; do
    case $word in
    --tests) tests=ON ;;
    --no-build) build=no ;;
    *)
        echo "setup: unknown option '$word' (known: --tests, --no-build)" >&2
        exit 1
        ;;
    esac
done

# What for                       Debian packages
tools="gcc libc6-dev cmake ninja-build"
opencl="opencl-headers ocl-icd-opencl-dev pocl-opencl-icd libclblast-dev"
libraries="liblua5.4-dev libstb-dev libcjson-dev libxxhash-dev libreadline-dev libmatio-dev"
lua="lua5.4 lua-argparse lua-filesystem"
downloads="curl ca-certificates unzip"
testing="libcmocka-dev lua-busted lua-check oclgrind clang clang-format g++ pkg-config"
optional=" $downloads libclblast-dev libreadline-dev libmatio-dev oclgrind clang clang-format g++ lua-check pkg-config "

packages="$tools $opencl $libraries $lua $downloads"
[ $tests = ON ] && packages="$packages $testing"

say() { echo "setup: $*"; }

# The packages of "$@" that dpkg does not have.
missing_of() {
    for p in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null | cut -c1-2)" = ii ] || printf '%s ' "$p"
    done
}

what_to_install() {
    cat >&2 <<EOT
setup: $1
setup: lualign needs these, by the names of their Debian packages:
    build tools      $tools
    OpenCL           $opencl
    libraries        $libraries
    Lua              $lua
    lualign fetch    $downloads
EOT
    [ $tests = ON ] && echo "    for the tests    $testing" >&2
    cat >&2 <<EOT
setup: (pocl-opencl-icd is OpenCL on the processor: the driver of a GPU serves as well. libclblast-dev,
setup: libreadline-dev, libmatio-dev and what lualign fetch needs are optional.) Where they are installed, run this
setup: again.
EOT
}

# Becoming root: nothing, sudo, or not at all. sudo may ask for a password where someone can type it.
as_root=none
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    as_root=sudo
fi

log=$(mktemp "${TMPDIR:-/tmp}/lualign-setup.XXXXXX") || exit 1
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM

# Runs a command silently; its output is shown if it fails.
quietly() {
    if ! "$@" >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        return 1
    fi
}

apt() { # sudo resets the environment, hence env
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"
}

if command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1 && [ -z "${LUALIGN_NO_APT:-}" ]; then
    missing=$(missing_of $packages)
    if [ -n "$missing" ]; then
        if [ "$as_root" = none ]; then
            what_to_install "some packages are missing, and installing them needs root or sudo"
            echo "setup: missing here: $missing" >&2
            echo "setup: as root: apt-get install $missing" >&2
            exit 1
        fi
        say "installing $missing"
        [ "$as_root" = sudo ] && { sudo -v || exit 1; }
        quietly apt update || say "the package lists could not be renewed; trying with those that are here"
        for p in $missing; do # a release without one of the optional packages does without it
            case $optional in *" $p "*) apt-cache show "$p" >/dev/null 2>&1 || {
                say "$p is not in this release; doing without it"
                missing=$(echo " $missing" | sed "s/ $p / /")
            } ;; esac
        done
        if ! quietly apt install --no-install-recommends $missing; then
            what_to_install "apt-get could not install them"
            exit 1
        fi
    fi
else
    absent=
    for tool in cmake ninja; do
        command -v $tool >/dev/null 2>&1 || absent="$absent $tool"
    done
    command -v "${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || absent="$absent C-compiler"
    if [ -n "$absent" ]; then
        what_to_install "not found:$absent"
        exit 1
    fi
fi

[ $build = no ] && exit 0

# A build folder that is there keeps its options, those given to cmake by hand too.
option=
if [ $tests = ON ] || [ ! -f "$root/build/CMakeCache.txt" ]; then
    option=-DLUALIGN_TESTS=$tests
fi
say "configuring"
if ! (cd "$root" && quietly cmake --preset release $option); then
    what_to_install "cmake did not find everything (above)"
    exit 1
fi
say "building into $root/build"
(cd "$root" && quietly cmake --build --preset release) || exit 1
say "done"

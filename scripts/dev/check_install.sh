#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sh scripts/dev/check_install.sh BUILD_DIR: installs that build into a folder below it and uses what was installed, in
# the ways a user would: the program, the Lua module from stock Lua, a C program through pkg-config and through CMake.
set -eu

build=$1
prefix=$build/installed
work=$build/installed-use
rm -rf "$prefix" "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$prefix" >"$work/install.log"
cd "$work" # nothing of the source tree is in reach from here

# The program, with the modules that were installed beside it, not those of the source tree.
cat >sum.lua <<'EOT'
local la <const> = require "lualign"
local where <const> = package.searchpath("lualign", package.path)
print(la.tensor({ 1, 2, 4 }):sum():item(), where)
EOT
out=$("$prefix/bin/lualign" sum.lua)
case $out in
"7.0"*"$prefix"*) ;;
*)
    echo "the installed program printed: $out"
    exit 1
    ;;
esac
"$prefix/bin/lualign" devices >devices.txt

# Stock Lua.
out=$(LUA_PATH="$prefix/share/lua/5.4/?.lua;$prefix/share/lua/5.4/?/init.lua;;" \
    LUA_CPATH="$prefix/lib/lua/5.4/?.so;;" lua5.4 sum.lua)
case $out in
"7.0"*"$prefix"*) ;;
*)
    echo "stock Lua printed: $out"
    exit 1
    ;;
esac

# C.
cat >sum.c <<'EOT'
#include <lualign.h>
#include <stdio.h>

int main(void)
{
    const float data[] = { 1, 2, 4 };
    float sum = 0;
    la_device *dev = NULL;
    la_tensor *t = NULL, *s = NULL;
    int err = la_device_open(&dev, NULL);
    if (err == LA_OK)
        err = la_tensor_from(&t, dev, LA_F32, 1, (int64_t[]){ 3 }, data);
    if (err == LA_OK)
        err = la_op_run(&s, "sum", &t, 1, NULL);
    if (err == LA_OK)
        err = la_tensor_read(s, &sum);
    if (err < 0)
        printf("%s\n", la_error());
    else
        printf("%s %g\n", la_version(), (double)sum);
    la_tensor_release(&s);
    la_tensor_release(&t);
    la_device_close(dev);
    return err < 0;
}
EOT
lib=$(dirname "$(find "$prefix" -name 'liblualign.so')")
export PKG_CONFIG_PATH="$lib/pkgconfig"
if command -v pkg-config >/dev/null 2>&1; then
    cc -std=c11 -o by_pkgconfig sum.c $(pkg-config --cflags --libs lualign) -Wl,-rpath,"$lib"
    ./by_pkgconfig | grep -qx "$(pkg-config --modversion lualign) 7" || { ./by_pkgconfig; exit 1; }
fi
cat >CMakeLists.txt <<'EOT'
cmake_minimum_required(VERSION 3.25)
project(use LANGUAGES C)
find_package(lualign 0.1 REQUIRED)
add_executable(by_cmake sum.c)
target_link_libraries(by_cmake PRIVATE lualign::lualign)
EOT
cmake -G Ninja -S . -B by_cmake -DCMAKE_PREFIX_PATH="$prefix" >cmake.log 2>&1 || { cat cmake.log; exit 1; }
cmake --build by_cmake >cmake.log 2>&1 || { cat cmake.log; exit 1; }
by_cmake/by_cmake | grep -q ' 7$' || { by_cmake/by_cmake; exit 1; }
# Only what the header declares is visible.
nm -D --defined-only "$lib/liblualign.so" | awk '$2 == "T" && $3 !~ /^la_[a-z]/ { print "exported: " $3; bad = 1 } END { exit bad }'

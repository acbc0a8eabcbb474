# The checks that are not tests of one module: other devices, other compilers, sanitizers, Oclgrind, layers, layout,
# documentation, installation. Included by CMakeLists.txt, whose lualign_test and busted it uses.

set(LUALIGN_TEST_DEVICES "" CACHE STRING "further devices for the op specs, named as for LUALIGN_DEVICE")
option(LUALIGN_TEST_ALL "also the slow checks: other builds, Oclgrind, a new op, installation" OFF)

set(dev ${PROJECT_SOURCE_DIR}/scripts/dev)
find_program(LUALIGN_LUA NAMES lua5.4 lua)
find_program(LUALIGN_LUACHECK luacheck)
find_program(LUALIGN_OCLGRIND oclgrind)
find_program(LUALIGN_CLANG clang)
find_program(LUALIGN_CXX NAMES ${CXX} c++ g++ clang++)

# ---- source ----
set(strict -pedantic-errors -Wall -Wextra -Wconversion -Wshadow -Werror -fsyntax-only
  -I${PROJECT_SOURCE_DIR}/src/include)
set(header ${CMAKE_CURRENT_SOURCE_DIR}/header/header.c)
lualign_test(check.header_c99 check ${CMAKE_C_COMPILER} -std=c99 ${strict} ${header})
lualign_test(check.header_c11 check ${CMAKE_C_COMPILER} -std=c11 ${strict} ${header})
if(LUALIGN_CXX)
  lualign_test(check.header_cxx check ${LUALIGN_CXX} -std=c++11 ${strict} -x c++ ${header})
endif()
if(LUALIGN_LUA)
  lualign_test(check.layers check ${LUALIGN_LUA} ${dev}/check_layers.lua ${PROJECT_SOURCE_DIR})
endif()
lualign_test(check.docs check lualign_cli ${dev}/check_docs.lua ${PROJECT_SOURCE_DIR})
lualign_test(check.format check sh ${dev}/format.sh --check)
if(LUALIGN_LUACHECK)
  lualign_test(check.luacheck check ${LUALIGN_LUACHECK} --no-color .)
endif()

# ---- the op specs by the GPU kernels, whatever device runs the tests: small sizes, since others are slow with them ----
file(GLOB op_specs CONFIGURE_DEPENDS ops/*_spec.lua)
foreach(file ${op_specs})
  get_filename_component(name ${file} NAME_WE)
  string(REGEX REPLACE "_spec$" "" name ${name})
  lualign_test(gpu.op.${name} "device;gpu" ${busted} ${file})
  set_property(TEST gpu.op.${name} APPEND PROPERTY ENVIRONMENT "LUALIGN_METHOD=gpu" "LUALIGN_TEST_SMALL=1"
    "LUALIGN_POISON=1")
endforeach()

# ---- the op specs on further devices, and a training run compared with the first one's ----
foreach(device ${LUALIGN_TEST_DEVICES})
  string(REGEX REPLACE "[^A-Za-z0-9].*" "" short ${device}) # "Intel(R) OpenCL": intel
  string(TOLOWER ${short} short)
  foreach(file ${op_specs})
    get_filename_component(name ${file} NAME_WE)
    string(REGEX REPLACE "_spec$" "" name ${name})
    lualign_test(${short}.${name} device ${busted} ${file})
    set_property(TEST ${short}.${name} APPEND PROPERTY ENVIRONMENT "LUALIGN_DEVICE=${device}")
  endforeach()
  lualign_test(${short}.training device ${busted} ${CMAKE_CURRENT_SOURCE_DIR}/devices/training_spec.lua)
  set_property(TEST ${short}.training APPEND PROPERTY ENVIRONMENT "LUALIGN_OTHER_DEVICE=${device}")
endforeach()

if(NOT LUALIGN_TEST_ALL)
  return()
endif()

# ---- the GPU kernels, compiled for GPUs that need not be here ----
if(LUALIGN_LUA)
  lualign_test(slow.gpu_compile slow ${LUALIGN_LUA} ${dev}/gpu_compile.lua ${PROJECT_SOURCE_DIR})
  set_tests_properties(slow.gpu_compile PROPERTIES TIMEOUT 1800)
endif()

# ---- the op specs under Oclgrind, which sees invalid accesses and races between work-items ----
if(LUALIGN_OCLGRIND)
  foreach(file ${op_specs})
    get_filename_component(name ${file} NAME_WE)
    string(REGEX REPLACE "_spec$" "" name ${name})
    lualign_test(oclgrind.${name} oclgrind sh ${dev}/oclgrind.sh ${LUALIGN_OCLGRIND} ${busted} ${file})
    set_property(TEST oclgrind.${name} APPEND PROPERTY ENVIRONMENT "LUALIGN_DEVICE=oclgrind" "LUALIGN_POOL=exact" "LUALIGN_TEST_SMALL=1")
  endforeach()
endif()

# ---- other builds, in folders of their own below the build folder ----
lualign_test(slow.sanitizers slow sh ${dev}/check_sanitizers.sh ${CMAKE_BINARY_DIR})
if(LUALIGN_CLANG)
  lualign_test(slow.clang slow sh ${dev}/check_compiler.sh ${CMAKE_BINARY_DIR} ${LUALIGN_CLANG})
endif()
lualign_test(slow.add_op slow sh ${dev}/check_add_op.sh ${CMAKE_BINARY_DIR})
lualign_test(slow.install slow sh ${dev}/check_install.sh ${CMAKE_BINARY_DIR})
foreach(name sanitizers clang add_op install)
  if(TEST slow.${name})
    set_tests_properties(slow.${name} PROPERTIES PROCESSORS 2 TIMEOUT 1800)
  endif()
endforeach()

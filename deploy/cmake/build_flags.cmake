# SPDX-License-Identifier: Apache-2.0
#
# leaseplane::build_flags: language level, include root, warnings, sanitizers. Every target of
# the project links it. Everything but the language level and the include path of the installed
# headers exists in the build tree only, so consumers of the package do not inherit it.

add_library(leaseplane_build_flags INTERFACE)
add_library(leaseplane::build_flags ALIAS leaseplane_build_flags)
set_target_properties(leaseplane_build_flags PROPERTIES EXPORT_NAME build_flags)

set(LEASEPLANE_INSTALL_INCLUDEDIR
    ${CMAKE_INSTALL_INCLUDEDIR}/leaseplane-${PROJECT_VERSION_MAJOR})
target_compile_features(leaseplane_build_flags INTERFACE cxx_std_20)
target_include_directories(
  leaseplane_build_flags
  INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
            $<INSTALL_INTERFACE:${LEASEPLANE_INSTALL_INCLUDEDIR}>)
target_link_libraries(leaseplane_build_flags INTERFACE $<BUILD_INTERFACE:leaseplane_sanitizers>)

set(_leaseplane_warnings
    -Wall
    -Wextra
    -Wpedantic
    -Wcast-align
    -Wformat=2
    -Wshadow
    -Wundef
    -Wunused
    -Wvla
    $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
    $<$<COMPILE_LANGUAGE:CXX>:-Wold-style-cast>
    $<$<COMPILE_LANGUAGE:CXX>:-Woverloaded-virtual>
    $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond>
    $<$<CXX_COMPILER_ID:GNU>:-Wlogical-op>
    $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>
    $<$<CXX_COMPILER_ID:Clang>:-Werror=thread-safety>)
if(LEASEPLANE_WERROR)
  list(APPEND _leaseplane_warnings -Werror)
endif()
if(LEASEPLANE_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # The instrumentation makes g++ 12 see paths that do not exist.
  list(APPEND _leaseplane_warnings -Wno-maybe-uninitialized)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # At -O3 g++ 12 sees overlapping copies inside of std::string's operator+ (GCC bug 105651).
  list(APPEND _leaseplane_warnings $<$<CONFIG:Release>:-Wno-restrict>)
endif()
target_compile_options(leaseplane_build_flags
                       INTERFACE "$<BUILD_INTERFACE:${_leaseplane_warnings}>")

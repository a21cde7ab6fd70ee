# SPDX-License-Identifier: Apache-2.0
#
# Turns LEASEPLANE_SANITIZE into the INTERFACE target leaseplane_sanitizers.

set(_leaseplane_sanitizers_known address undefined thread)
foreach(name IN LISTS LEASEPLANE_SANITIZE)
  if(NOT name IN_LIST _leaseplane_sanitizers_known)
    message(FATAL_ERROR "LEASEPLANE_SANITIZE: '${name}' is not one of: "
                        "${_leaseplane_sanitizers_known}")
  endif()
endforeach()
list(LENGTH LEASEPLANE_SANITIZE _leaseplane_sanitizer_count)
if("thread" IN_LIST LEASEPLANE_SANITIZE AND _leaseplane_sanitizer_count GREATER 1)
  message(FATAL_ERROR "LEASEPLANE_SANITIZE: 'thread' cannot be combined with others")
endif()

add_library(leaseplane_sanitizers INTERFACE)
if(LEASEPLANE_SANITIZE)
  list(JOIN LEASEPLANE_SANITIZE "," _leaseplane_sanitizer_names)
  target_compile_options(
    leaseplane_sanitizers
    INTERFACE -fsanitize=${_leaseplane_sanitizer_names} -fno-sanitize-recover=all
              -fno-omit-frame-pointer)
  target_link_options(leaseplane_sanitizers INTERFACE -fsanitize=${_leaseplane_sanitizer_names})
endif()

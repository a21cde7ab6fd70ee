# SPDX-License-Identifier: Apache-2.0
#
# leaseplane_use_static_grpc(): points the imported targets of gRPC and Abseil at the archives that
# the distribution ships beside the shared libraries. gRPC's archive is the one with TLS. Protobuf's
# module has a switch of its own, to be set before it is found: Protobuf_USE_STATIC_LIBS. OpenSSL,
# c-ares, re2 and zlib stay shared: they are not on the path of a call without TLS, and their
# security updates then need no new build.
function(leaseplane_use_static_grpc)
  get_property(targets DIRECTORY ${PROJECT_SOURCE_DIR} PROPERTY IMPORTED_TARGETS)
  list(FILTER targets INCLUDE
       REGEX "^(absl::|gRPC::(address_sorting|gpr|grpc|grpc\\+\\+|grpc\\+\\+_reflection|upb)$)")
  foreach(target IN LISTS targets)
    get_target_property(type ${target} TYPE)
    if(NOT type STREQUAL "SHARED_LIBRARY")
      continue()
    endif()
    get_target_property(configurations ${target} IMPORTED_CONFIGURATIONS)
    list(GET configurations 0 configuration)
    get_target_property(shared ${target} IMPORTED_LOCATION_${configuration})
    string(REGEX REPLACE "\\.so[.0-9]*$" ".a" archive "${shared}")
    if(NOT EXISTS "${archive}")
      message(FATAL_ERROR "LEASEPLANE_STATIC_GRPC: there is no ${archive}")
    endif()
    set_target_properties(
      ${target} PROPERTIES IMPORTED_LOCATION_${configuration} "${archive}"
                           IMPORTED_SONAME_${configuration} "")
  endforeach()
endfunction()

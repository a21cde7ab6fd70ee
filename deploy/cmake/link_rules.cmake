# SPDX-License-Identifier: Apache-2.0
#
# Which targets may reach gRPC and protobuf. The includes are checked by tests/tidy; this is the
# same rule for links.

# leaseplane_reaches_grpc(TARGET OUT)
# Sets OUT to TRUE when TARGET links gRPC, protobuf or the generated code, directly or through
# other targets of this project.
function(leaseplane_reaches_grpc target out)
  set(pending ${target})
  set(seen)
  set(found FALSE)
  while(pending)
    list(POP_FRONT pending item)
    string(REGEX REPLACE "^\\$<(LINK_ONLY|BUILD_INTERFACE):(.*)>$" "\\2" item "${item}")
    if(item MATCHES "^(gRPC::|protobuf::)")
      set(found TRUE)
      break()
    endif()
    if(NOT TARGET "${item}" OR item IN_LIST seen)
      continue()
    endif()
    list(APPEND seen ${item})
    get_target_property(is_imported ${item} IMPORTED)
    if(is_imported)
      continue()
    endif()
    foreach(property LINK_LIBRARIES INTERFACE_LINK_LIBRARIES)
      get_target_property(libraries ${item} ${property})
      if(libraries)
        list(APPEND pending ${libraries})
      endif()
    endforeach()
  endwhile()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

# leaseplane_check_link_rules()
# Stops the configuration when a target that has to stay free of gRPC reaches it.
function(leaseplane_check_link_rules)
  set(free_of_grpc
      core_base core_shm core_pool core_attach
      server_config server_security server_obs
      server_ledger server_store server_engine server_keeper
      server_attach server_plane local)
  foreach(name IN LISTS free_of_grpc)
    if(TARGET leaseplane::${name})
      get_target_property(original leaseplane::${name} ALIASED_TARGET)
      leaseplane_reaches_grpc(${original} reaches)
      if(reaches)
        message(FATAL_ERROR "leaseplane::${name} must not link gRPC or protobuf")
      endif()
    endif()
  endforeach()
endfunction()

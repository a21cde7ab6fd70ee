# SPDX-License-Identifier: Apache-2.0
#
# The installed package: find_package(leaseplane) and pkg-config.
include(CMakePackageConfigHelpers)

# leaseplane_export_library(TARGET target [EXPORT_NAME name] [HEADERS file...] [HEADER_ROOT dir])
# Puts a library into the installed package as leaseplane::<name> with its public headers.
# HEADERS are relative to the current folder; they are installed under the path relative to
# HEADER_ROOT (default: the root of the repository), so includes read the same installed or not.
# Every library of the project that an exported one links has to be exported as well.
function(leaseplane_export_library)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "TARGET;EXPORT_NAME;HEADER_ROOT" "HEADERS")
  if(NOT arg_EXPORT_NAME)
    string(REGEX REPLACE "^leaseplane_" "" arg_EXPORT_NAME ${arg_TARGET})
  endif()
  if(NOT arg_HEADER_ROOT)
    set(arg_HEADER_ROOT ${PROJECT_SOURCE_DIR})
  endif()
  set_target_properties(${arg_TARGET} PROPERTIES EXPORT_NAME ${arg_EXPORT_NAME})
  install(TARGETS ${arg_TARGET} EXPORT leaseplane_targets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
  foreach(header IN LISTS arg_HEADERS)
    cmake_path(ABSOLUTE_PATH header BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)
    cmake_path(GET header PARENT_PATH folder)
    cmake_path(RELATIVE_PATH folder BASE_DIRECTORY ${arg_HEADER_ROOT})
    install(FILES ${header} DESTINATION ${LEASEPLANE_INSTALL_INCLUDEDIR}/${folder}
            COMPONENT development)
  endforeach()
  set_property(GLOBAL APPEND PROPERTY LEASEPLANE_EXPORTED_LIBRARIES ${arg_EXPORT_NAME})
endfunction()

# leaseplane_install_package()
# Installs the export set and the package files; called once, after all libraries are known.
function(leaseplane_install_package)
  get_property(exported GLOBAL PROPERTY LEASEPLANE_EXPORTED_LIBRARIES)
  if(NOT exported)
    return()
  endif()
  set(templates ${PROJECT_SOURCE_DIR}/deploy/cmake)
  set(destination ${CMAKE_INSTALL_LIBDIR}/cmake/leaseplane)
  install(TARGETS leaseplane_build_flags EXPORT leaseplane_targets)
  install(EXPORT leaseplane_targets NAMESPACE leaseplane:: FILE leaseplane-targets.cmake
          DESTINATION ${destination} COMPONENT development)
  set(LEASEPLANE_PACKAGE_HAS_CLIENT FALSE)
  if("client" IN_LIST exported)
    set(LEASEPLANE_PACKAGE_HAS_CLIENT TRUE)
  endif()
  configure_package_config_file(
    ${templates}/leaseplane-config.cmake.in ${PROJECT_BINARY_DIR}/leaseplane-config.cmake
    INSTALL_DESTINATION ${destination})
  write_basic_package_version_file(
    ${PROJECT_BINARY_DIR}/leaseplane-config-version.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/leaseplane-config.cmake
                ${PROJECT_BINARY_DIR}/leaseplane-config-version.cmake
          DESTINATION ${destination} COMPONENT development)
  leaseplane_install_pkgconfig("${exported}")
endfunction()

# leaseplane-local.pc for the local library and leaseplane.pc for the whole client, with the
# archives in link order.
function(leaseplane_install_pkgconfig exported)
  foreach(name local client)
    if(NOT name IN_LIST exported)
      continue()
    endif()
    leaseplane_archive_closure(leaseplane_${name} LEASEPLANE_PC_LIBS)
    set(LEASEPLANE_PC_NAME leaseplane-local)
    set(LEASEPLANE_PC_REQUIRES
        "absl_cord absl_flat_hash_map absl_status absl_statusor absl_strings absl_time")
    if(name STREQUAL "client")
      set(LEASEPLANE_PC_NAME leaseplane)
      string(APPEND LEASEPLANE_PC_REQUIRES " absl_flat_hash_set grpc++ protobuf")
    endif()
    get_target_property(options leaseplane_${name} INTERFACE_LINK_OPTIONS)
    if(options)
      string(REPLACE "LINKER:" "-Wl," options "${options}")
      string(PREPEND LEASEPLANE_PC_LIBS "${options} ")
    endif()
    # From the folder of libraries to the prefix: `..` once a level.
    string(REGEX REPLACE "[^/]+" ".." LEASEPLANE_PC_PREFIX ${CMAKE_INSTALL_LIBDIR})
    configure_file(${PROJECT_SOURCE_DIR}/deploy/cmake/leaseplane.pc.in
                   ${PROJECT_BINARY_DIR}/${LEASEPLANE_PC_NAME}.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/${LEASEPLANE_PC_NAME}.pc
            DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
  endforeach()
endfunction()

# leaseplane_archive_closure(TARGET OUT)
# Sets OUT to the -l flags of TARGET and of every library of the project below it.
function(leaseplane_archive_closure target out)
  set(pending ${target})
  set(archives)
  while(pending)
    list(POP_FRONT pending item)
    string(REGEX REPLACE "^\\$<(LINK_ONLY|BUILD_INTERFACE):(.*)>$" "\\2" item "${item}")
    if(NOT TARGET "${item}")
      continue()
    endif()
    get_target_property(original ${item} ALIASED_TARGET)
    if(original)
      set(item ${original})
    endif()
    get_target_property(type ${item} TYPE)
    get_target_property(is_imported ${item} IMPORTED)
    if(is_imported)
      continue()
    endif()
    if(type STREQUAL "STATIC_LIBRARY")
      # A library named twice moves behind its last user, as a linker wants it.
      list(REMOVE_ITEM archives ${item})
      list(APPEND archives ${item})
    endif()
    get_target_property(libraries ${item} LINK_LIBRARIES)
    if(libraries)
      list(APPEND pending ${libraries})
    endif()
  endwhile()
  list(TRANSFORM archives PREPEND "-l")
  list(JOIN archives " " archives)
  set(${out} "${archives}" PARENT_SCOPE)
endfunction()

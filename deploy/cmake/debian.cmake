# SPDX-License-Identifier: Apache-2.0
#
# Debian packages, by CPack: leaseplane (daemon), leaseplane-cli, libleaseplane-dev.
#   cpack -G DEB --config BUILD/CPackConfig.cmake -B FOLDER
# deploy/packaging/sbom.py makes the list of what a package contains and needs.

# leaseplane_package_files(COMPONENT PACKAGE MANUAL...)
# What Debian wants in every package, and its manual pages: copyright, changelog, pages compressed.
function(leaseplane_package_files component package)
  set(folder ${PROJECT_BINARY_DIR}/debian/${package})
  file(MAKE_DIRECTORY ${folder})
  set(doc ${CMAKE_INSTALL_DATAROOTDIR}/doc/${package})
  string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
  file(WRITE ${folder}/changelog
       "${package} (${PROJECT_VERSION}) unstable; urgency=medium\n\n"
       "  * See CHANGELOG.md of the project for what changed.\n\n"
       " -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
  set(compressed ${folder}/changelog)
  foreach(manual IN LISTS ARGN)
    configure_file(${PROJECT_SOURCE_DIR}/deploy/man/${manual} ${folder}/${manual} @ONLY)
    list(APPEND compressed ${folder}/${manual})
  endforeach()
  find_program(LEASEPLANE_GZIP gzip REQUIRED)
  execute_process(COMMAND ${LEASEPLANE_GZIP} -9nf ${compressed} COMMAND_ERROR_IS_FATAL ANY)
  install(FILES ${PROJECT_SOURCE_DIR}/deploy/debian/copyright ${folder}/changelog.gz
          DESTINATION ${doc} COMPONENT ${component})
  install(FILES ${PROJECT_SOURCE_DIR}/deploy/debian/lintian-overrides
          DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/lintian/overrides RENAME ${package}
          COMPONENT ${component})
  foreach(manual IN LISTS ARGN)
    string(REGEX MATCH "[0-9]$" section ${manual})
    install(FILES ${folder}/${manual}.gz
            DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${component})
  endforeach()
endfunction()

# leaseplane_install_service(): unit, users, folders, configuration.
function(leaseplane_install_service)
  set(deploy ${PROJECT_SOURCE_DIR}/deploy)
  # Folders of systemd, the same on every architecture.
  install(FILES ${deploy}/systemd/leaseplane.service
          DESTINATION lib/systemd/system COMPONENT daemon)
  install(FILES ${deploy}/systemd/sysusers.conf
          DESTINATION lib/sysusers.d RENAME leaseplane.conf COMPONENT daemon)
  install(FILES ${deploy}/systemd/tmpfiles.conf
          DESTINATION lib/tmpfiles.d RENAME leaseplane.conf COMPONENT daemon)
  install(FILES ${deploy}/debian/config.yaml DESTINATION /etc/leaseplane COMPONENT daemon)
  install(FILES ${deploy}/examples/pools.yaml
          DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/leaseplane/examples COMPONENT daemon)
endfunction()

# leaseplane_install_completions(): one file serves both programs.
function(leaseplane_install_completions)
  set(completions ${PROJECT_SOURCE_DIR}/deploy/completions)
  set(bash ${CMAKE_INSTALL_DATAROOTDIR}/bash-completion/completions)
  install(FILES ${completions}/leaseplane.bash DESTINATION ${bash} RENAME leasectl COMPONENT cli)
  install(FILES ${completions}/leaseplane.bash
          DESTINATION ${bash} RENAME leaseplaned COMPONENT daemon)
  set(zsh ${CMAKE_INSTALL_DATAROOTDIR}/zsh/vendor-completions)
  install(FILES ${completions}/_leaseplane DESTINATION ${zsh} RENAME _leasectl COMPONENT cli)
  install(FILES ${completions}/_leaseplane
          DESTINATION ${zsh} RENAME _leaseplaned COMPONENT daemon)
endfunction()

if(NOT LEASEPLANE_BUILD_SERVER OR NOT LEASEPLANE_BUILD_CLIENTS)
  return()
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME leaseplane)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "Leaseplane maintainers <leaseplane@localhost.localdomain>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL daemon cli development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_DEBIAN_DAEMON_PACKAGE_NAME leaseplane)
set(CPACK_DEBIAN_DAEMON_PACKAGE_SECTION net)
set(CPACK_DEBIAN_DAEMON_DESCRIPTION
    "daemon that leases slots of shared resources
Leaseplane hands out leases on slots of shared resources: GPUs, database
connections, licences. Remote callers lease over gRPC; processes on the same
host lease the same slots through shared memory. Every grant carries a fencing
token that only grows.

This package has the daemon and its systemd service.")
set(CPACK_DEBIAN_DAEMON_PACKAGE_DEPENDS
    "systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles")
set(CPACK_DEBIAN_DAEMON_PACKAGE_RECOMMENDS leaseplane-cli)
set(CPACK_DEBIAN_DAEMON_PACKAGE_CONTROL_EXTRA
    ${PROJECT_SOURCE_DIR}/deploy/debian/postinst ${PROJECT_SOURCE_DIR}/deploy/debian/prerm
    ${PROJECT_SOURCE_DIR}/deploy/debian/postrm ${PROJECT_SOURCE_DIR}/deploy/debian/conffiles)

set(CPACK_DEBIAN_CLI_PACKAGE_NAME leaseplane-cli)
set(CPACK_DEBIAN_CLI_PACKAGE_SECTION net)
set(CPACK_DEBIAN_CLI_DESCRIPTION
    "command-line tool for Leaseplane
leasectl acquires, renews and releases leases, runs a command for as long as
it holds one, and looks after the pools of a Leaseplane daemon, on this host
or another.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libleaseplane-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
    "libabsl-dev, libgrpc++-dev, libprotobuf-dev, libc6-dev")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION
    "C++ client library for Leaseplane
Headers, archives to link statically, and files for CMake and pkg-config:
leaseplane::local for shared memory alone, leaseplane::client with gRPC.")

leaseplane_package_files(daemon leaseplane leaseplaned.8 leaseplane.conf.5)
leaseplane_package_files(cli leaseplane-cli leasectl.1)
leaseplane_package_files(development libleaseplane-dev)
leaseplane_install_service()
leaseplane_install_completions()
include(CPack)

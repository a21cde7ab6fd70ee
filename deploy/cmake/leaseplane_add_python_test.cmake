# SPDX-License-Identifier: Apache-2.0

# leaseplane_add_python_test(NAME name SCRIPT file [LABEL label] [TIMEOUT seconds] [ARGS arg...]
#                            [PATHS folder...] [ENV NAME=value...])
#
# PATHS are searched for modules, besides those of tests/integration/python, tests/support and
# tests/verify.
function(leaseplane_add_python_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;SCRIPT;LABEL;TIMEOUT" "ARGS;ENV;PATHS")
  if(NOT arg_LABEL)
    set(arg_LABEL integration)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_test(NAME ${arg_NAME} COMMAND ${Python3_EXECUTABLE} -B ${arg_SCRIPT} -v ${arg_ARGS})
  set(folder_of_stubs ${PROJECT_BINARY_DIR}/tests/integration/python/stubs)
  set(tests ${PROJECT_SOURCE_DIR}/tests)
  list(JOIN arg_PATHS ":" more_paths)
  set(modules ${tests}/integration/python:${tests}/support:${tests}/verify)
  set(environment
      LEASEPLANE_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}
      LEASEPLANE_SOURCE_DIR=${PROJECT_SOURCE_DIR}
      PYTHONPATH=${folder_of_stubs}:${modules}:${more_paths}
      ${arg_ENV})
  set_tests_properties(
    ${arg_NAME}
    PROPERTIES
      LABELS "${arg_LABEL};grpc"
      TIMEOUT ${arg_TIMEOUT}
      ENVIRONMENT "${environment}")
endfunction()

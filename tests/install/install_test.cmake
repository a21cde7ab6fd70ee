# SPDX-License-Identifier: Apache-2.0
#
# Installs what developers get into a folder of its own, and builds and runs the consumer with it:
# through find_package, and through pkg-config.
#   cmake -DBUILD_DIR= -DSOURCE_DIR= -DWORK_DIR= -DCXX= -DLIBDIR= -P install_test.cmake
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status OUTPUT_VARIABLE output
                  ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${ARGV}\n-> ${status}\n${output}")
  endif()
endfunction()

set(prefix ${WORK_DIR}/prefix)
file(REMOVE_RECURSE ${WORK_DIR})
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${prefix} --component development)

run(${CMAKE_COMMAND} -S ${SOURCE_DIR} -B ${WORK_DIR}/build -G Ninja -DCMAKE_CXX_COMPILER=${CXX}
    -DCMAKE_PREFIX_PATH=${prefix})
run(${CMAKE_COMMAND} --build ${WORK_DIR}/build)
run(${WORK_DIR}/build/use_local)
run(${WORK_DIR}/build/use_client)

find_program(PKG_CONFIG pkg-config REQUIRED)
set(ENV{PKG_CONFIG_PATH} ${prefix}/${LIBDIR}/pkgconfig)
foreach(pair local:leaseplane-local client:leaseplane)
  string(REGEX MATCH "^(.*):(.*)$" unused ${pair})
  set(program ${CMAKE_MATCH_1})
  execute_process(COMMAND ${PKG_CONFIG} --cflags --libs ${CMAKE_MATCH_2}
                  OUTPUT_VARIABLE flags COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${CXX} -std=c++20 ${SOURCE_DIR}/use_${program}.cc ${flags} -o ${WORK_DIR}/use_${program})
  run(${WORK_DIR}/use_${program})
endforeach()

# The local library stays free of gRPC in what it asks the linker for, too.
execute_process(COMMAND ldd ${WORK_DIR}/build/use_local OUTPUT_VARIABLE libraries)
if(libraries MATCHES "grpc|protobuf")
  message(FATAL_ERROR "use_local needs gRPC:\n${libraries}")
endif()

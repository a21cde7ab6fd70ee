# SPDX-License-Identifier: Apache-2.0

# leaseplane_add_test(NAME name LABEL label SOURCES file... [LIBS target...]
#                     [ARGS arg...] [ENV NAME=value...] [DEPENDS target...]
#                     [TIMEOUT seconds] [RUN_SERIAL] [NO_MAIN])
#
# One GoogleTest program, one ctest entry of the same name. LABEL is the kind of test (unit,
# model, conformance, integration, stress, crash, ...); a test whose libraries reach gRPC has
# the label `grpc` as well. DEPENDS names programs the test starts. NO_MAIN: the sources bring
# their own main(). The default timeout is 120 s; sanitizer builds get four times as much.
#
# Building `leaseplane_tests_<label>` builds all tests of one kind;
# `leaseplane_tests_<label>_nogrpc` those that do not reach gRPC.
function(leaseplane_add_test)
  cmake_parse_arguments(
    PARSE_ARGV 0 arg "RUN_SERIAL;NO_MAIN" "NAME;LABEL;TIMEOUT" "SOURCES;LIBS;ARGS;ENV;DEPENDS")
  foreach(required NAME LABEL SOURCES)
    if(NOT arg_${required})
      message(FATAL_ERROR "leaseplane_add_test(${arg_NAME}): ${required} is missing")
    endif()
  endforeach()
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "leaseplane_add_test(${arg_NAME}): unknown ${arg_UNPARSED_ARGUMENTS}")
  endif()

  add_executable(${arg_NAME} ${arg_SOURCES})
  target_link_libraries(${arg_NAME} PRIVATE ${arg_LIBS} leaseplane::build_flags GTest::gmock)
  if(arg_NO_MAIN)
    target_link_libraries(${arg_NAME} PRIVATE GTest::gtest)
  else()
    target_link_libraries(${arg_NAME} PRIVATE GTest::gtest_main)
  endif()
  if(arg_DEPENDS)
    add_dependencies(${arg_NAME} ${arg_DEPENDS})
  endif()

  set(labels ${arg_LABEL})
  set(groups leaseplane_tests_${arg_LABEL})
  leaseplane_reaches_grpc(${arg_NAME} reaches_grpc)
  if(reaches_grpc)
    list(APPEND labels grpc)
  else()
    list(APPEND groups leaseplane_tests_${arg_LABEL}_nogrpc)
  endif()
  foreach(group IN LISTS groups)
    if(NOT TARGET ${group})
      add_custom_target(${group})
    endif()
    add_dependencies(${group} ${arg_NAME})
  endforeach()

  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  set(launcher)
  if(LEASEPLANE_SANITIZE)
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 4")
    list(APPEND arg_ENV UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1)
  endif()
  if("thread" IN_LIST LEASEPLANE_SANITIZE)
    # The runtime wants its own address ranges free; kernels with much randomisation take them.
    # Where a container forbids to switch it off, the tests run with it.
    if(NOT DEFINED LEASEPLANE_FIXED_ADDRESSES)
      execute_process(COMMAND setarch -R true RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
      if(failed)
        set(LEASEPLANE_FIXED_ADDRESSES OFF CACHE INTERNAL "")
      else()
        set(LEASEPLANE_FIXED_ADDRESSES ON CACHE INTERNAL "")
      endif()
    endif()
    if(LEASEPLANE_FIXED_ADDRESSES)
      set(launcher setarch -R)
    endif()
  endif()
  add_test(NAME ${arg_NAME} COMMAND ${launcher} $<TARGET_FILE:${arg_NAME}> ${arg_ARGS})
  set_tests_properties(
    ${arg_NAME} PROPERTIES LABELS "${labels}" TIMEOUT ${arg_TIMEOUT} ENVIRONMENT "${arg_ENV}")
  if(arg_RUN_SERIAL)
    set_tests_properties(${arg_NAME} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()

# SPDX-License-Identifier: Apache-2.0

# leaseplane_add_subdirectories(DIR...)
# Adds each folder that has a CMakeLists.txt, in the given order, and skips the others.
function(leaseplane_add_subdirectories)
  foreach(dir IN LISTS ARGN)
    if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${dir}/CMakeLists.txt)
      add_subdirectory(${dir})
    endif()
  endforeach()
endfunction()

# The demo, a few steps of everything, and how it ends at a signal.
# SPDX-License-Identifier: MIT
if(SRA_BUILD_EXAMPLES)
  add_test(NAME demo/demo COMMAND ${SRA_BASH} ${CMAKE_CURRENT_SOURCE_DIR}/demo/demo.sh $<TARGET_FILE:demo>)
  set_tests_properties(demo/demo PROPERTIES TIMEOUT ${sra_test_timeout})
endif()

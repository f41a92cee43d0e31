# Who may include whom, and what every file of the tree looks like.
# SPDX-License-Identifier: MIT
foreach(check IN ITEMS arrows umbrella third_party cuda_macro files machine_paths)
  sra_add_static_test(layering/${check} ${CMAKE_CURRENT_SOURCE_DIR}/layering/layering.sh ${PROJECT_SOURCE_DIR} ${check})
endforeach()
sra_add_static_test(layering/harness ${CMAKE_CURRENT_SOURCE_DIR}/layering/layering_test.sh)

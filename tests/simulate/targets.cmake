# The simulator with the product's library; and once more with agent/commit compiled so that rules can be
# broken. Fast in every preset, for its worth is in the number of seeds.
file(GLOB simulate_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/simulate/*.c)
file(GLOB commit_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/agent/commit/*.c)
add_executable(simulate ${simulate_sources})
target_link_libraries(simulate PRIVATE firn_commit)
add_executable(simulate_mutants ${simulate_sources} ${commit_sources})
target_compile_definitions(simulate_mutants PRIVATE FIRN_MUTANTS="tests/simulate/mutants.h")
target_link_libraries(simulate_mutants PRIVATE firn_record)
foreach(target simulate simulate_mutants)
  target_compile_options(${target} PRIVATE -O2)
endforeach()
# In a minute with sanitizers: seeds, then every mutant within 2,000 of them. Its long form is tests/long.
add_test(NAME simulate/seeds COMMAND simulate --seeds 1-8000 --seconds 60)
add_test(NAME simulate/mutants COMMAND simulate_mutants --mutants --seeds 1-2000)
set_tests_properties(simulate/seeds simulate/mutants PROPERTIES LABELS simulate TIMEOUT 1200)

# The tests that are not C: each one program that exits 0. Labels: lint, integration, long. What they
# need is brought up by tests/run; the agents they start are those of build/debug and build/release.
function(firn_script_test name label seconds)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT ${seconds})
endfunction()
set(python ${CMAKE_CURRENT_SOURCE_DIR}/harness/python)

foreach(name layers banned format crash_points reasons)
  firn_script_test(lint/${name} lint 600 ${CMAKE_CURRENT_SOURCE_DIR}/lint/${name})
endforeach()

firn_script_test(compare integration 1200 ${python} ${CMAKE_CURRENT_SOURCE_DIR}/compare/test_compare.py)

# The limits of all tests are for what hangs: many times what any takes, as a slow machine that does much else takes several
# times as long as a quick one.
file(GLOB scripts CONFIGURE_DEPENDS integration/test_*.py)
foreach(script ${scripts})
  get_filename_component(name ${script} NAME_WE)
  string(REPLACE "test_" "" name ${name})
  firn_script_test(integration/${name} integration 1800 ${python} ${script})
endforeach()

# Threads: the whole pipeline, and the queue between them, under ThreadSanitizer (build/tsan).
firn_script_test(integration/tsan_follow integration 1200 ${CMAKE_COMMAND} -E env FIRN_BUILD=tsan
  ${python} ${CMAKE_CURRENT_SOURCE_DIR}/integration/test_follow.py V3Upsert.test_live)
firn_script_test(integration/tsan_queue integration 1200
  ${PROJECT_SOURCE_DIR}/build/tsan/tests/common_test_queue)

file(GLOB scripts CONFIGURE_DEPENDS long/test_*.py)
foreach(script ${scripts})
  get_filename_component(name ${script} NAME_WE)
  string(REPLACE "test_" "" name ${name})
  firn_script_test(long/${name} long 14400 ${python} ${script})
endforeach()

# check: what runs before each commit.
find_program(CTEST ctest REQUIRED)
add_custom_target(check
  COMMAND ${CTEST} --test-dir ${CMAKE_BINARY_DIR} -L lint --output-on-failure
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/lint/tidy ${CMAKE_BINARY_DIR}
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/lint/cppcheck ${CMAKE_BINARY_DIR}
  COMMAND ${CTEST} --test-dir ${CMAKE_BINARY_DIR} -L unit --output-on-failure -j2
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} USES_TERMINAL VERBATIM)
add_custom_target(check-build COMMAND ${CMAKE_COMMAND} --build ${CMAKE_BINARY_DIR} USES_TERMINAL)
add_dependencies(check check-build)

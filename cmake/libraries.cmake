# What comes from Debian's packages (and librdkafka), and how one folder becomes one library.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(PQ REQUIRED IMPORTED_TARGET libpq)
pkg_check_modules(MARIADB REQUIRED IMPORTED_TARGET libmariadb)
pkg_check_modules(LWS REQUIRED IMPORTED_TARGET libwebsockets)
pkg_check_modules(SSL REQUIRED IMPORTED_TARGET openssl)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(EXPAT REQUIRED IMPORTED_TARGET expat)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)

# Not Debian 12's own: deploy/librdkafka says why.
set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/deploy/librdkafka ${CMAKE_SOURCE_DIR}/deploy/librdkafka.patch)
execute_process(
  COMMAND ${CMAKE_SOURCE_DIR}/deploy/librdkafka
  OUTPUT_VARIABLE RDKAFKA_PREFIX
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
add_library(rdkafka STATIC IMPORTED)
set_target_properties(
  rdkafka
  PROPERTIES IMPORTED_LOCATION ${RDKAFKA_PREFIX}/lib/librdkafka.a
             INTERFACE_INCLUDE_DIRECTORIES ${RDKAFKA_PREFIX}/include
             INTERFACE_LINK_LIBRARIES
             "PkgConfig::ZLIB;PkgConfig::ZSTD;PkgConfig::SSL;PkgConfig::CURL;Threads::Threads;m;dl;rt")
find_library(ROARING_LIBRARY roaring REQUIRED)
find_library(SNAPPY_LIBRARY snappy REQUIRED)

# firn_library(NAME [RECURSE] DEPENDS target…): the folder's *.c as the static library NAME. A folder may link only to
# what is named here, so that a wrong call fails to link; tests/lint/layers checks the includes likewise.
function(firn_library name)
  cmake_parse_arguments(arg "RECURSE" "" "DEPENDS" ${ARGN})
  if(arg_RECURSE)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
  else()
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
  endif()
  if(sources)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC ${arg_DEPENDS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ${arg_DEPENDS})
  endif()
  if(FIRN_FUZZ AND sources)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

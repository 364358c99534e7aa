# Options, warnings and the functions that every part of the tree is declared with.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

option(AGENTTASK_TESTS "Build the tests" ON)
option(AGENTTASK_FUZZ "Build the fuzzers for libFuzzer, with clang, in place of the tests" OFF)
set(AGENTTASK_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=: address,undefined or thread")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # The sloppiness is what ccache asks for where precompiled headers are used.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} ${CCACHE_PROGRAM})
endif()

add_library(agenttask_options INTERFACE)
target_include_directories(agenttask_options INTERFACE ${CMAKE_SOURCE_DIR})
if(WIN32)
  include(agenttask_windows)
endif()
if(MSVC)
  target_compile_options(agenttask_options INTERFACE /W4 /utf-8 /bigobj /EHsc /permissive- /Zc:__cplusplus /Zc:preprocessor)
else()
target_compile_options(agenttask_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Wimplicit-fallthrough $<$<NOT:$<BOOL:${AGENTTASK_FUZZ}>>:-Werror> -fstack-protector-strong -fno-strict-aliasing
  $<$<STREQUAL:${CMAKE_CXX_COMPILER_ID},GNU>:-fpch-preprocess>)
endif()
target_compile_definitions(agenttask_options INTERFACE
  AGENTTASK_VERSION="${PROJECT_VERSION}"
  JSON_USE_IMPLICIT_CONVERSIONS=0  # json that converts itself to anything makes Result<json> ambiguous
  $<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
if(AGENTTASK_SANITIZE)
  target_compile_options(agenttask_options INTERFACE -fsanitize=${AGENTTASK_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all $<$<STREQUAL:${CMAKE_CXX_COMPILER_ID},GNU>:-Wno-maybe-uninitialized>)
  target_link_options(agenttask_options INTERFACE -fsanitize=${AGENTTASK_SANITIZE})
  # g++ 12 warns that TSan does not know fences; none of ours are used without an atomic beside them.
  if(AGENTTASK_SANITIZE STREQUAL "thread")
    target_compile_options(agenttask_options INTERFACE -Wno-tsan)
  endif()
endif()
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
target_link_libraries(agenttask_options INTERFACE Threads::Threads)

# agenttask_library(part SOURCES a.cpp … LINK x … PRIVATE_LINK y …): one static library for one part.
function(agenttask_library part)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  add_library(agenttask_${part} STATIC ${arg_SOURCES})
  target_link_libraries(agenttask_${part} PUBLIC agenttask_options ${arg_LINK} PRIVATE ${arg_PRIVATE_LINK})
endfunction()

# agenttask_program(name SOURCES … LINK … [DESCRIPTION "What Windows shows"]): an executable in bin/.
function(agenttask_program name)
  cmake_parse_arguments(arg "" "DESCRIPTION" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE agenttask_options ${arg_LINK})
  if(WIN32)
    agenttask_windows_resources(${name} "${arg_DESCRIPTION}")
  endif()
endfunction()

# agenttask_use_json(target): compiles the target against the one precompiled header that holds nlohmann/json.
function(agenttask_use_json)
  foreach(target ${ARGV})
    target_link_libraries(${target} PRIVATE nlohmann_json::nlohmann_json)
    target_precompile_headers(${target} REUSE_FROM agenttask_precompiled)
  endforeach()
endfunction()

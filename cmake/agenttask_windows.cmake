# What is different where Windows is the system that is built for.
target_compile_definitions(agenttask_options INTERFACE
  WIN32_LEAN_AND_MEAN NOMINMAX UNICODE _UNICODE
  _WIN32_WINNT=0x0A00 WINVER=0x0A00)  # Windows 10 and Server 2016
if(NOT MSVC)
  target_compile_options(agenttask_options INTERFACE -ffunction-sections -fdata-sections -Wa,-mbig-obj)
  target_link_options(agenttask_options INTERFACE $<$<CONFIG:Release>:-s>)
endif()

set(OPENSSL_USE_STATIC_LIBS ON)  # tells find_package which libraries of the system OpenSSL needs besides

enable_language(RC)

# agenttask_windows_resources(target description): names it in its properties, and has Windows take its texts as
# UTF-8 and its paths as long as they are.
function(agenttask_windows_resources target description)
  if(NOT description)
    set(description "${target}, a part of AgentTask")
  endif()
  set(file ${target}.exe)
  string(REPLACE "." "," version_numbers "${PROJECT_VERSION}.0")
  set(resources ${CMAKE_CURRENT_BINARY_DIR}/${target}.rc)
  configure_file(${CMAKE_SOURCE_DIR}/cmake/windows/program.rc.in ${resources} @ONLY)
  configure_file(${CMAKE_SOURCE_DIR}/cmake/windows/program.manifest.in ${CMAKE_CURRENT_BINARY_DIR}/${target}.manifest @ONLY)
  set_source_files_properties(${resources} PROPERTIES OBJECT_DEPENDS
    "${CMAKE_CURRENT_BINARY_DIR}/${target}.manifest;${CMAKE_SOURCE_DIR}/cmake/windows/program.rc.in")
  target_sources(${target} PRIVATE ${resources})
  if(MSVC)
    target_link_options(${target} PRIVATE /MANIFEST:NO)  # ours is in the resources
  endif()
endfunction()

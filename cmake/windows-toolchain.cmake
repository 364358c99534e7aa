# Cross-compiles for 64-bit Windows 10 (Server 2016) and later with Debian's mingw-w64. Libraries come from the
# prefix that scripts/windows-dependencies makes; nothing of the host's own folders is looked at.
if(NOT AGENTTASK_WINDOWS_PREFIX)
  if(DEFINED ENV{AGENTTASK_WINDOWS_PREFIX})
    set(AGENTTASK_WINDOWS_PREFIX "$ENV{AGENTTASK_WINDOWS_PREFIX}" CACHE PATH "What scripts/windows-dependencies made")
  else()
    set(AGENTTASK_WINDOWS_PREFIX "$ENV{HOME}/.cache/agenttask/windows" CACHE PATH "What scripts/windows-dependencies made")
  endif()
endif()
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES AGENTTASK_WINDOWS_PREFIX)

set(host x86_64-w64-mingw32)
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
# The -posix compilers: std::thread, std::mutex and std::stop_token exist only there.
set(CMAKE_C_COMPILER ${host}-gcc-posix)
set(CMAKE_CXX_COMPILER ${host}-g++-posix)
set(CMAKE_RC_COMPILER ${host}-windres)
set(CMAKE_AR /usr/bin/${host}-gcc-ar-posix CACHE FILEPATH "")
set(CMAKE_RANLIB /usr/bin/${host}-gcc-ranlib-posix CACHE FILEPATH "")

set(CMAKE_FIND_ROOT_PATH ${AGENTTASK_WINDOWS_PREFIX} /usr/${host})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_PREFIX_PATH ${AGENTTASK_WINDOWS_PREFIX})

# Everything in one file: a service whose libraries lie beside it could be given others.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static -fstack-protector-strong -Wl,--gc-sections -Wl,--dynamicbase,--nxcompat,--high-entropy-va")
set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_CURRENT_LIST_DIR}/../scripts/wine-run)

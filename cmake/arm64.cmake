# Cross compiles for arm64 Linux with Debian's compiler, and runs what was made under qemu-user. The libraries lie in a folder that
# scripts/arm64-sysroot fills (`./dev arm64` calls it).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

if(DEFINED ENV{AGENTTASK_ARM64_SYSROOT})
  set(AGENTTASK_ARM64_FOLDER $ENV{AGENTTASK_ARM64_SYSROOT})
else()
  set(AGENTTASK_ARM64_FOLDER $ENV{HOME}/.cache/agenttask/arm64)
endif()
if(NOT EXISTS ${AGENTTASK_ARM64_FOLDER}/complete)
  message(FATAL_ERROR "there are no arm64 libraries in ${AGENTTASK_ARM64_FOLDER}: run ./dev arm64, or scripts/arm64-sysroot FOLDER")
endif()

set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_STRIP aarch64-linux-gnu-strip)
set(AGENTTASK_DEBIAN_ARCHITECTURE arm64)
set(CMAKE_SYSROOT ${AGENTTASK_ARM64_FOLDER}/sysroot)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
foreach(what LIBRARY INCLUDE PACKAGE)
  set(CMAKE_FIND_ROOT_PATH_MODE_${what} ONLY)
endforeach()

# An arm64 machine that builds for itself needs none.
if(NOT CMAKE_HOST_SYSTEM_PROCESSOR STREQUAL "aarch64")
  set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L ${AGENTTASK_ARM64_FOLDER}/emulated)
endif()

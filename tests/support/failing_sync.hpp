#pragma once
#include <atomic>
#include <cerrno>
#include <sys/syscall.h>
#include <unistd.h>

/// A disk whose writes are not confirmed while `sync_fails` is set. To be included in one file of a test's
/// program, whose functions come before the C library's, for SQLite too.
namespace agenttask::test {
inline std::atomic<bool> sync_fails = false;
}  // namespace agenttask::test

extern "C" int fsync(int descriptor) {
  if (agenttask::test::sync_fails) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, descriptor));
}
extern "C" int fdatasync(int descriptor) {
  if (agenttask::test::sync_fails) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fdatasync, descriptor));
}

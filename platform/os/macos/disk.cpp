#include "platform/os/posix/disk.hpp"

#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <sys/acl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace agenttask::os {

// fsync leaves it in the drive's own cache there. File systems that have no such request refuse it.
bool store_durably(int descriptor) {
  return ::fcntl(descriptor, F_FULLFSYNC) == 0 || ::fsync(descriptor) == 0;
}

int allocate_bytes(int descriptor, off_t bytes) {
  constexpr off_t kBlock = 512;  // what stat counts in
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0) return errno;
  const off_t missing = bytes - static_cast<off_t>(facts.st_blocks) * kBlock;
  if (missing > 0) {
    fstore_t room{};
    room.fst_flags = F_ALLOCATEALL;
    room.fst_posmode = F_PEOFPOSMODE;
    room.fst_length = missing;
    if (::fcntl(descriptor, F_PREALLOCATE, &room) != 0) return errno;
  }
  if (facts.st_size < bytes && ::ftruncate(descriptor, bytes) != 0) return errno;
  return 0;
}

bool has_access_list(const std::filesystem::path& file) {
  const std::unique_ptr<void, int (*)(void*)> list(::acl_get_file(file.c_str(), ACL_TYPE_EXTENDED),
                                                   &::acl_free);
  return list != nullptr;
}

}  // namespace agenttask::os

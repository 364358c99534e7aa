#include "platform/os/posix/disk.hpp"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace agenttask::os {

bool store_durably(int descriptor) {
  return ::fsync(descriptor) == 0;
}

int allocate_bytes(int descriptor, off_t bytes) {
  return ::posix_fallocate(descriptor, 0, bytes);
}

bool has_access_list(const std::filesystem::path& file) {
  return ::getxattr(file.c_str(), "system.posix_acl_access", nullptr, 0) > 0;
}

}  // namespace agenttask::os

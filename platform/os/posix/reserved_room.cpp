#include "platform/os/reserved_room.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "platform/os/posix/descriptor.hpp"
#include "platform/os/posix/disk.hpp"

namespace agenttask::os {
namespace {

constexpr std::int64_t kShareOfTheDisk = 32;
constexpr std::int64_t kLeast = 64 * 1024;
constexpr std::int64_t kBlock = 512;  // what stat counts in

std::int64_t size_for(const std::filesystem::path& file, std::int64_t most) {
  struct statvfs disk {};
  if (::statvfs(file.parent_path().c_str(), &disk) != 0) return most;
  const auto share =
      static_cast<std::int64_t>(disk.f_blocks) * static_cast<std::int64_t>(disk.f_frsize) / kShareOfTheDisk;
  return std::min(most, std::max(kLeast, share / kLeast * kLeast));
}

Error cannot_take(const std::filesystem::path& file, std::int64_t bytes, int error_number) {
  auto error = io_error(
      "cannot keep " + std::to_string(bytes) + " bytes free for the ends of runs, in " + file.string(),
      error_number);
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG)
    error.code = ErrorCode::limit;
  if (error_number == EACCES || error_number == EPERM || error_number == EROFS)
    error.code = ErrorCode::denied;
  return error;
}

}  // namespace

Result<void> ReservedRoom::take() {
  const std::lock_guard lock(mutex_);
  const auto wanted = size_for(file_, bytes_);
  struct stat facts {};
  // Blocks, not only a size: a file with holes holds no room.
  if (::stat(file_.c_str(), &facts) == 0 && facts.st_size >= wanted && facts.st_blocks * kBlock >= wanted) {
    return {};
  }
  const Descriptor file(::open(file_.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.is_open()) return cannot_take(file_, wanted, errno);
  if (const int failed = allocate_bytes(file.get(), wanted); failed != 0) {
    ::unlink(file_.c_str());
    return cannot_take(file_, wanted, failed);
  }
  return {};
}

bool ReservedRoom::give_up() {
  const std::lock_guard lock(mutex_);
  struct stat facts {};
  return ::stat(file_.c_str(), &facts) == 0 && facts.st_blocks > 0 && ::unlink(file_.c_str()) == 0;
}

}  // namespace agenttask::os

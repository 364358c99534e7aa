#include <array>
#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>

#include "platform/os/posix/descriptor.hpp"
#include "platform/os/secure_file.hpp"

namespace agenttask::os {

struct FileLock::State {
  Descriptor file;
};

FileLock::FileLock(std::unique_ptr<State> state) : state_(std::move(state)) {}
FileLock::FileLock(FileLock&&) noexcept = default;
FileLock& FileLock::operator=(FileLock&&) noexcept = default;
FileLock::~FileLock() = default;

Result<FileLock> FileLock::acquire(const std::filesystem::path& file) {
  const auto name = file.string();
  Descriptor descriptor(::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!descriptor.is_open()) {
    auto error = io_error("cannot open the lock " + name, errno);
    if (errno == EACCES || errno == EPERM) error.code = ErrorCode::denied;
    if (errno == ENOENT) error.code = ErrorCode::not_found;
    return error;
  }
  std::array<char, 32> text{};
  if (::flock(descriptor.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return io_error("cannot lock " + name, errno);
    const auto count = ::pread(descriptor.get(), text.data(), text.size() - 1, 0);
    std::string holder(text.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
    holder = holder.substr(0, holder.find_first_not_of("0123456789"));
    return Error{ErrorCode::conflict,
                 "the folder " + file.parent_path().string() + " is in use by another process" +
                     (holder.empty() ? "" : ", pid " + holder) + " (it holds " + name + ")"};
  }
  // The pid is for the message above only; the lock is what counts.
  const auto pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(descriptor.get(), 0) != 0 || ::pwrite(descriptor.get(), pid.data(), pid.size(), 0) < 0) {
    return io_error("cannot write " + name, errno);
  }
  return FileLock(std::make_unique<State>(State{std::move(descriptor)}));
}

}  // namespace agenttask::os

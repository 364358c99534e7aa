#include "platform/os/reserved_room.hpp"

#include <algorithm>
#include <windows.h>

#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

constexpr std::int64_t kShareOfTheDisk = 32;
constexpr std::int64_t kLeast = 64 * 1024;

std::int64_t size_for(const std::filesystem::path& file, std::int64_t most) {
  ULARGE_INTEGER whole{};
  if (::GetDiskFreeSpaceExW(file.parent_path().c_str(), nullptr, &whole, nullptr) == 0) return most;
  const auto share = static_cast<std::int64_t>(whole.QuadPart) / kShareOfTheDisk;
  return std::min(most, std::max(kLeast, share / kLeast * kLeast));
}

Error cannot_take(const std::filesystem::path& file, std::int64_t bytes, DWORD code) {
  return system_error("cannot keep " + std::to_string(bytes) + " bytes free for the ends of runs, in " +
                          to_utf8(file.native()),
                      code);
}

/// How many bytes the file has; -1 where there is none.
std::int64_t size_of(const std::filesystem::path& file) {
  WIN32_FILE_ATTRIBUTE_DATA facts{};
  if (::GetFileAttributesExW(file.c_str(), GetFileExInfoStandard, &facts) == 0) return -1;
  return static_cast<std::int64_t>((static_cast<std::uint64_t>(facts.nFileSizeHigh) << 32) |
                                   facts.nFileSizeLow);
}

}  // namespace

Result<void> ReservedRoom::take() {
  const std::lock_guard lock(mutex_);
  const auto wanted = size_for(file_, bytes_);
  // The end of a file that is not sparse is behind blocks that are its own.
  if (size_of(file_) >= wanted) return {};
  Handle file(::CreateFileW(file_.c_str(), GENERIC_WRITE, FILE_SHARE_DELETE, nullptr, OPEN_ALWAYS,
                            FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT, nullptr));
  if (!file.is_open()) return cannot_take(file_, wanted, ::GetLastError());
  LARGE_INTEGER end{};
  end.QuadPart = wanted;
  if (::SetFilePointerEx(file.get(), end, nullptr, FILE_BEGIN) == 0 || ::SetEndOfFile(file.get()) == 0) {
    const DWORD failed = ::GetLastError();
    file.close();
    ::DeleteFileW(file_.c_str());
    return cannot_take(file_, wanted, failed);
  }
  return {};
}

bool ReservedRoom::give_up() {
  const std::lock_guard lock(mutex_);
  return size_of(file_) > 0 && ::DeleteFileW(file_.c_str()) != 0;
}

}  // namespace agenttask::os

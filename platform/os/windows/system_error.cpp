#include "platform/os/windows/system_error.hpp"

#include <array>
#include <windows.h>

#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

ErrorCode kind_of(unsigned long code) {
  switch (code) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_NAME:
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_NET_NAME:
      return ErrorCode::not_found;
    case ERROR_ACCESS_DENIED:
    case ERROR_PRIVILEGE_NOT_HELD:
      return ErrorCode::denied;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
      return ErrorCode::limit;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_NO_SYSTEM_RESOURCES:
    case ERROR_COMMITMENT_LIMIT:
    case ERROR_TOO_MANY_OPEN_FILES:
    case ERROR_NOT_ENOUGH_QUOTA:
    case ERROR_MAX_THRDS_REACHED:
      return ErrorCode::unavailable;
    default:
      return ErrorCode::io;
  }
}

}  // namespace

std::string describe_system_error(unsigned long code) {
  std::array<wchar_t, 512> text{};
  constexpr DWORD kHow =
      FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK;
  const DWORD length =
      ::FormatMessageW(kHow, nullptr, code, 0, text.data(), static_cast<DWORD>(text.size()), nullptr);
  std::wstring_view words(text.data(), length);
  while (!words.empty() && (words.back() == L' ' || words.back() == L'.')) words.remove_suffix(1);
  if (words.empty()) return "error " + std::to_string(code);
  return to_utf8(words) + " (" + std::to_string(code) + ")";
}

Error system_error(std::string_view what, unsigned long code) {
  return Error{kind_of(code), std::string(what) + ": " + describe_system_error(code)};
}

}  // namespace agenttask::os

#include "platform/os/variable.hpp"

#include <windows.h>

#include "platform/os/windows/wide.hpp"

namespace agenttask::os {

// What the C library has went through the code page of the machine.
std::optional<std::string> read_variable(const std::string& name) {
  constexpr DWORD kLongest = 32'767;
  std::wstring value(kLongest, L'\0');
  ::SetLastError(ERROR_SUCCESS);
  const DWORD length = ::GetEnvironmentVariableW(to_wide(name).c_str(), value.data(), kLongest);
  if (length == 0 && ::GetLastError() == ERROR_ENVVAR_NOT_FOUND) return std::nullopt;
  value.resize(length < kLongest ? length : 0);
  return to_utf8(value);
}

}  // namespace agenttask::os

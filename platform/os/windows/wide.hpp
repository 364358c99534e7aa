#pragma once
#include <string>
#include <string_view>

namespace agenttask::os {

/// UTF-16 for the system's calls. Bytes that are not UTF-8 become U+FFFD, so what must be exact is checked
/// before. Private to platform/os/windows.
[[nodiscard]] std::wstring to_wide(std::string_view utf8);
/// UTF-8 of what the system says; half a surrogate pair becomes U+FFFD.
[[nodiscard]] std::string to_utf8(std::wstring_view wide);

}  // namespace agenttask::os

#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/base/error.hpp"

namespace agenttask::server {

/// A request's target, decoded.
struct Target {
  std::string path;                   ///< segments joined
  std::vector<std::string> segments;  ///< none for `/`
  std::vector<std::pair<std::string, std::string>> query;
};

/// Decodes the target of a request line: `/path?query`, or `https://host/path?query`.
///
/// Refused with `invalid`: bad percent escapes, control characters (NUL above all), bytes that are not UTF-8
/// after decoding, segments `.` and `..`, and a slash or backslash that was escaped into a segment. In the
/// query, `+` is a space, as forms and curl's --data-urlencode write it.
[[nodiscard]] Result<Target> parse_target(std::string_view target);

}  // namespace agenttask::server

#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/error.hpp"

/// The configuration file of both programs, a small part of TOML:
///
///     # a comment, on a line of its own or after white space
///     name = value
///     name = "a value, in quotes where it begins or ends with white space or holds a #"
///     names = a, b           also: names = ["a", "b"]
namespace agenttask::settings {

/// The largest file that is read.
constexpr std::size_t kConfigurationBytes = std::size_t{256} * 1024;

/// One line that sets something.
struct ConfigurationEntry {
  std::string name;
  std::vector<std::string> values;  ///< without quotes; several only of a list in brackets or quotes
  std::size_t line = 0;             ///< counted from 1
};

/// All entries of a file in their order. `file` is its name, for errors. `invalid` names the line that is no
/// `name = value`, belongs to a section, or gives a name again; `limit` when there are too many bytes.
[[nodiscard]] Result<std::vector<ConfigurationEntry>> parse_configuration(const std::string& file,
                                                                          std::string_view text);

/// How the value is to be written so that it is read again as it is. There is no way for one that seems to
/// hold a comment and has both kinds of quotes.
[[nodiscard]] std::string configuration_value(const std::string& value);

/// "FILE line NUMBER".
[[nodiscard]] std::string configuration_place(const std::string& file, std::size_t line);

}  // namespace agenttask::settings

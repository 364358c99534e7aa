#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/error.hpp"

namespace agenttask {

/// `text`, or as much of its beginning as leaves room to say that it was cut and how long it was; at most
/// `most_bytes` (64 or more), whole characters.
[[nodiscard]] std::string cut_to(std::string text, std::size_t most_bytes);

/// Reads the members of one JSON object that somebody else wrote: each with its type and bounds, and none
/// unnoticed.
///
/// The first fault is kept and names the field with its path (`options.timeout`); after it, every read gives
/// nothing. Usage: read what is known, then `finish()`. Threads: one owner. The object must outlive the
/// reader.
class ObjectReader {
 public:
  enum class Unknown : std::uint8_t { refuse, ignore };

  ObjectReader(const nlohmann::json& object, Unknown unknown, std::string path = {});

  [[nodiscard]] bool has(std::string_view name) const;
  /// Marks `name` as known and gives its value; null where it is absent.
  [[nodiscard]] const nlohmann::json* member(std::string_view name);
  [[nodiscard]] std::optional<std::string> text(std::string_view name, std::size_t most_bytes,
                                                std::size_t least_bytes = 0);
  /// A text that only explains something to people, so that what it explains is not lost with it: one that is
  /// too long is cut (cut_to), and U+0000 becomes U+FFFD.
  [[nodiscard]] std::optional<std::string> explanation(std::string_view name, std::size_t most_bytes);
  /// A whole number; 5.0 and 5e0 count as 5.
  [[nodiscard]] std::optional<std::int64_t> integer(std::string_view name, std::int64_t least,
                                                    std::int64_t most);
  [[nodiscard]] std::optional<bool> boolean(std::string_view name);
  [[nodiscard]] std::optional<std::vector<std::string>> texts(std::string_view name, std::size_t most,
                                                              std::size_t most_bytes,
                                                              std::size_t least_bytes = 0);
  /// The member, where it is an object.
  [[nodiscard]] const nlohmann::json* object(std::string_view name);
  [[nodiscard]] const nlohmann::json* array(std::string_view name, std::size_t most);
  /// Notes that `name` has to be there.
  void require(std::string_view name);

  /// Notes a fault of `name`, if there is none yet.
  void refuse(std::string_view name, std::string message, ErrorCode code = ErrorCode::invalid);
  void refuse(Error error);
  [[nodiscard]] bool failed() const { return error_.has_value(); }
  [[nodiscard]] std::string path_of(std::string_view name) const;

  /// The first fault, an unknown member included, or nothing.
  [[nodiscard]] std::optional<Error> finish();

 private:
  const nlohmann::json& object_;
  Unknown unknown_;
  std::string path_;
  std::vector<std::string> known_;
  std::optional<Error> error_;
};

}  // namespace agenttask

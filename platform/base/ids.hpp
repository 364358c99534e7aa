#pragma once
#include <string>
#include <string_view>

#include "platform/base/clock.hpp"

namespace agenttask {

/// A new UUID version 7 (RFC 9562): 48 bits of `now`, the rest random. Lower case with dashes. Threads: any.
[[nodiscard]] std::string make_uuid(UnixMilliseconds now);

/// Whether `text` is a UUID in its usual form with dashes, any version, lower or upper case.
[[nodiscard]] bool is_uuid(std::string_view text);

/// `text` in lower case: the one form in which ids are stored and compared.
[[nodiscard]] std::string normalize_uuid(std::string_view text);

/// `count` bytes from the system's random source, fit for secrets. Throws std::runtime_error where there is
/// none, which no caller could act on.
[[nodiscard]] std::string random_bytes(std::size_t count);

/// A double in [0, 1) for jitter; not for secrets. Threads: any.
[[nodiscard]] double random_fraction();

}  // namespace agenttask

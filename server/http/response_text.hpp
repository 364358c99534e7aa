#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "platform/base/clock.hpp"
#include "platform/protocol/problem.hpp"
#include "server/api/outcome.hpp"

namespace agenttask::server {

enum class BodyForm : std::uint8_t {
  whole,         ///< with its length
  chunked,       ///< goes on
  until_closed,  ///< goes on, for HTTP/1.0
};

/// Status line and header fields, with the empty line after them. Fields whose bytes could forge others are
/// left out.
[[nodiscard]] std::string head_text(const Response& response, BodyForm form, bool keep_alive,
                                    UnixMilliseconds now);

/// `bytes` as a chunk; empty for no bytes, as an empty chunk would end the body.
[[nodiscard]] std::string chunk_text(std::string_view bytes);

/// A time as HTTP writes it: `Sun, 22 Nov 2026 05:30:00 GMT`.
[[nodiscard]] std::string http_date(UnixMilliseconds time);

/// The transport's own errors look like everybody else's. `retry_after`: of a 503.
[[nodiscard]] Response problem_response(const Problem& problem,
                                        std::chrono::seconds retry_after = std::chrono::seconds(1));

}  // namespace agenttask::server

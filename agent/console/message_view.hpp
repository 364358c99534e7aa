#pragma once
#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/error.hpp"

namespace agenttask::console {

/// Whether a message says whose it is: the device, or the operator who posted it.
enum class Author : std::uint8_t { hidden, shown };

/// A message of a room in one line or more: when, where, and its text (or the whole content, where it has
/// none).
[[nodiscard]] Result<std::string> render_message(const nlohmann::json& value, Author author = Author::hidden);
/// `{"messages":[…]}` with the newest last, in whatever order they came.
[[nodiscard]] Result<std::string> render_messages(const nlohmann::json& answer,
                                                  Author author = Author::hidden);

/// What is posted: `text` as `{"text":…}`, or the object that `data` gives; exactly one of them.
[[nodiscard]] Result<nlohmann::json> message_content(const std::string& text, const std::string& data);

}  // namespace agenttask::console

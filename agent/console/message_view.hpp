#pragma once
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/error.hpp"

namespace agenttask::console {

/// A message of a room in one line or more: when, where, and its text (or the whole content, where it has
/// none).
[[nodiscard]] Result<std::string> render_message(const nlohmann::json& value);
/// `{"messages":[…]}` with the newest last, in whatever order they came.
[[nodiscard]] Result<std::string> render_messages(const nlohmann::json& answer);

/// What is posted: `text` as `{"text":…}`, or the object that `data` gives; exactly one of them.
[[nodiscard]] Result<nlohmann::json> message_content(const std::string& text, const std::string& data);

}  // namespace agenttask::console

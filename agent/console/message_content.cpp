// What people post, in their words; declared in message_view.hpp.
#include <nlohmann/json.hpp>

#include "agent/console/message_view.hpp"
#include "agent/console/task_words.hpp"

namespace agenttask::console {

Result<nlohmann::json> message_content(const std::string& text, const std::string& data) {
  if (text.empty() == data.empty()) {
    return Error{ErrorCode::invalid, "say what to post: a text, or --data with a JSON object"};
  }
  if (!data.empty()) {
    auto content = data_argument(data);
    if (!content) return with_context(content.error(), "--data");
    return content;
  }
  return Result<nlohmann::json>(boost::system::in_place_value, nlohmann::json{{"text", text}});
}

}  // namespace agenttask::console

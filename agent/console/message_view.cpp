#include "agent/console/message_view.hpp"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "agent/console/json_access.hpp"
#include "agent/console/text.hpp"
#include "agent/console/time_text.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

struct MessageView {
  RoomMessage message;
  std::string author;  ///< empty where nothing is said of it
};

Result<MessageView> read_message(json value) {
  // Before an enrolment the device belongs to no node.
  if (value.is_object() && text_of(value, "nodeId").empty()) value.erase("nodeId");
  auto message = room_message_from_json(value);
  if (!message) return with_context(message.error(), "the answer is not a message");
  std::string author = text_of(value, "by");
  if (author.empty()) author = message->node_id;
  return MessageView{std::move(*message), std::move(author)};
}

std::string render(const MessageView& view, Author author) {
  const RoomMessage& message = view.message;
  std::string text = format_time(message.time) + "  " + printable(message.room_id);
  if (!message.world_id.empty()) text += "@" + printable(message.world_id);
  if (author == Author::shown && !view.author.empty()) text += "  " + printable(view.author);
  const auto content = parse_json(message.content);
  std::string said = content ? text_of(*content, "text") : std::string();
  if (said.empty()) said = message.content;
  said = printable_lines(said);
  while (!said.empty() && said.back() == '\n') said.pop_back();
  text += "  ";
  for (const char character : said)
    text += character == '\n' ? std::string("\n    ") : std::string(1, character);
  return text + "\n";
}

}  // namespace

Result<std::string> render_message(const json& value, Author author) {
  const auto message = read_message(value);
  if (!message) return message.error();
  return render(*message, author);
}

Result<std::string> render_messages(const json& answer, Author author) {
  const json* list = member_of(answer, "messages");
  if (list == nullptr || !list->is_array()) {
    return Error{ErrorCode::invalid, "the answer holds no list of messages"};
  }
  if (list->empty()) return std::string("no messages\n");
  std::vector<MessageView> messages;
  for (const json& value : *list) {
    auto message = read_message(value);
    if (!message) return message.error();
    messages.push_back(std::move(*message));
  }
  // Ids are made in order of time on each device, so they settle what has the same time.
  std::sort(messages.begin(), messages.end(), [](const MessageView& one, const MessageView& other) {
    return std::tie(one.message.time, one.message.id) < std::tie(other.message.time, other.message.id);
  });
  std::string text;
  for (const MessageView& message : messages) text += render(message, author);
  return text;
}

}  // namespace agenttask::console

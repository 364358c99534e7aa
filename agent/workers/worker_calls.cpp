#include "agent/workers/worker_calls.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "agent/workers/worker_manifest.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task_json.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;

constexpr std::size_t kIdBytes = 64;

std::string encode(const Task& task) {
  return encode_json(task_to_json(task, Detail::full));
}

std::size_t read_limit(ObjectReader& reader) {
  constexpr auto most = static_cast<std::int64_t>(limits::kPageMost);
  constexpr auto usual = static_cast<std::int64_t>(limits::kPageDefault);
  return static_cast<std::size_t>(reader.integer("limit", 1, most).value_or(usual));
}

Result<std::string> read_id(const json& arguments) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("id");
  std::string id = reader.text("id", kIdBytes, 1).value_or("");
  if (auto error = reader.finish()) return *error;
  return id;
}

Result<std::string> create_task(RunWishes& wishes, const json& arguments) {
  auto spec = parse_task_request(arguments);
  if (!spec) return spec.error();
  const auto task = wishes.create(*std::move(spec));
  if (!task) return task.error();
  return encode(*task);
}

Result<std::string> list_tasks(RunWishes& wishes, const TaskFilter& filter, std::size_t most) {
  const auto tasks = wishes.list(filter, most);
  if (!tasks) return tasks.error();
  std::string text = "[";
  for (const Task& task : *tasks) {
    if (text.size() > WorkerCalls::kAnswerBytes) break;
    if (text.size() > 1) text += ",";
    text += encode_json(task_to_json(task, Detail::summary));
  }
  return text + "]";
}

Result<std::string> get_tasks(RunWishes& wishes, const json& arguments) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  TaskFilter filter;
  filter.type = reader.text("type", limits::kTypeBytes, 1).value_or("");
  filter.tags = reader.texts("tags", limits::kTags, limits::kTagBytes, 1).value_or(filter.tags);
  filter.room_id = reader.text("roomId", limits::kRoomBytes, 1).value_or("");
  filter.world_id = reader.text("worldId", limits::kRoomBytes, 1).value_or("");
  if (const auto name = reader.text("status", 32, 1)) {
    if (const auto status = parse_task_status(*name)) {
      filter.status = *status;
    } else {
      reader.refuse("status", status.error().message);
    }
  }
  const std::size_t most = read_limit(reader);
  if (auto error = reader.finish()) return *error;
  return list_tasks(wishes, filter, most);
}

Result<std::string> get_tasks_by_type(RunWishes& wishes, const json& arguments) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("type");
  TaskFilter filter;
  filter.type = reader.text("type", limits::kTypeBytes, 1).value_or("");
  if (auto error = reader.finish()) return *error;
  return list_tasks(wishes, filter, limits::kPageMost);
}

Result<std::string> get_task(RunWishes& wishes, const json& arguments) {
  const auto id = read_id(arguments);
  if (!id) return id.error();
  const auto task = wishes.get(*id);
  if (task) return encode(*task);
  if (task.error().code == ErrorCode::not_found) return std::string("null");
  return task.error();
}

Result<std::string> update_task(RunWishes& wishes, const json& arguments) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("id");
  reader.require("changes");
  const std::string id = reader.text("id", kIdBytes, 1).value_or("");
  const json* changes = reader.object("changes");
  if (auto error = reader.finish()) return *error;
  const auto task = wishes.update(id, encode_json(*changes));
  if (!task) return task.error();
  return encode(*task);
}

Result<std::string> delete_task(RunWishes& wishes, const json& arguments) {
  const auto id = read_id(arguments);
  if (!id) return id.error();
  const auto task = wishes.remove(*id);
  if (!task) return task.error();
  return encode(*task);
}

Result<std::string> create_message(RunWishes& wishes, const json& arguments) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("content");
  std::string room = reader.text("roomId", limits::kRoomBytes, 1).value_or("");
  std::string world = reader.text("worldId", limits::kRoomBytes, 1).value_or("");
  const json* content = reader.object("content");
  if (auto error = reader.finish()) return *error;
  const auto message = wishes.post(std::move(room), std::move(world), encode_json(*content));
  if (!message) return message.error();
  return encode_json(room_message_to_json(*message));
}

Result<std::string> get_messages(RunWishes& wishes, const json& arguments) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  const std::string room = reader.text("roomId", limits::kRoomBytes).value_or("");
  const std::size_t most = read_limit(reader);
  if (auto error = reader.finish()) return *error;
  const auto messages = wishes.messages(room, most);
  if (!messages) return messages.error();
  // The newest count where not all of them fit.
  std::size_t bytes = 0;
  auto first = messages->size();
  while (first > 0 && bytes <= WorkerCalls::kAnswerBytes) bytes += (*messages)[--first].content.size() + 512;
  json list = json::array();
  for (auto index = first; index < messages->size(); ++index) {
    list.push_back(room_message_to_json((*messages)[index]));
  }
  return encode_json(list);
}

Result<std::string> get_service(const WorkerServices& services, const json& arguments) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("name");
  const std::string name = reader.text("name", limits::kTypeBytes, 1).value_or("");
  if (auto error = reader.finish()) return *error;
  const auto found = services.find(name);
  if (found == services.end()) return std::string("null");
  return encode_json(json{{"name", name}, {"worker", found->second->name}});
}

Result<ServiceCall> read_service_call(const WorkerServices& services, const json& arguments) {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("name");
  reader.require("method");
  ServiceCall call;
  call.name = reader.text("name", limits::kTypeBytes, 1).value_or("");
  call.method = reader.text("method", kServiceMethodBytes, 1).value_or("");
  if (const json* given = reader.object("arguments")) call.arguments = encode_json(*given);
  if (auto error = reader.finish()) return *error;
  const auto found = services.find(call.name);
  if (found == services.end()) return Error{ErrorCode::not_found, no_such_service(call.name), "name"};
  call.worker = found->second;
  return call;
}

}  // namespace

Result<std::string> WorkerCalls::dispatch(const WorkerCall& call) {
  using Function = Result<std::string> (*)(RunWishes&, const json&);
  static const std::map<std::string, Function, std::less<>> functions{
      {"createTask", create_task},           {"getTasks", get_tasks},
      {"getTasksByType", get_tasks_by_type}, {"getTask", get_task},
      {"updateTask", update_task},           {"deleteTask", delete_task},
      {"createMessage", create_message},     {"getMessages", get_messages},
  };
  const auto arguments = parse_json(call.arguments, limits::kJsonDepth + 4);
  if (!arguments) return arguments.error();
  if (call.name == "getService") return get_service(services_, *arguments);
  if (const auto found = functions.find(call.name); found != functions.end()) {
    return found->second(wishes_, *arguments);
  }
  return Error{ErrorCode::unsupported, "this agent knows no call named " + call.name, "name"};
}

CallAnswer WorkerCalls::answer(const WorkerCall& call) {
  if (count_ >= kWorkerCalls) {
    return CallAnswer::problem(
        {ErrorCode::limit, "a run may make at most " + std::to_string(kWorkerCalls) + " calls"});
  }
  ++count_;
  if (call.name == "callService") {
    const auto arguments = parse_json(call.arguments, limits::kJsonDepth + 4);
    if (!arguments) return CallAnswer::problem(arguments.error());
    const auto wanted = read_service_call(services_, *arguments);
    return wanted ? serve_(*wanted) : CallAnswer::problem(wanted.error());
  }
  auto text = dispatch(call);
  if (!text) return CallAnswer::problem(text.error());
  CallAnswer answer;
  answer.result = *std::move(text);
  return answer;
}

}  // namespace agenttask::agent

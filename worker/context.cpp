#include <agenttask/worker.hpp>
#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <utility>

#include "worker/conversation.hpp"

namespace agenttask::worker {
namespace {

std::vector<Json> list_of(Json answer) {
  if (!answer.is_array()) throw Problem("protocol", "the agent answered no list: " + answer.dump());
  return std::move(answer.get_ref<Json::array_t&>());
}

}  // namespace

// ---- what is thrown, what is answered

Failure::Failure(std::string code, const std::string& message, Json data)
    : std::runtime_error(message), code_(std::move(code)), data_(std::move(data)) {}

Problem::Problem(std::string code, const std::string& message, std::string field)
    : Failure(std::move(code), message), field_(std::move(field)) {}

Validity Validity::not_now(std::string detail) {
  Validity validity = false;
  validity.detail = std::move(detail);
  return validity;
}

Validity TaskWorker::validate(const Json&) {
  return true;
}

// ---- stopping

std::stop_token StopSignal::token() const {
  return conversation_.stop();
}

std::string StopSignal::cause() const {
  return conversation_.stop_cause();
}

bool StopSignal::wait_for(std::chrono::milliseconds duration) const {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  // The clock would overflow on what people write for "for ever".
  constexpr std::chrono::milliseconds longest = std::chrono::hours(24 * 366);
  never.wait_for(lock, token(), std::min(duration, longest), [] { return false; });
  return requested();
}

// ---- calls

ServiceReference::ServiceReference(Conversation& conversation, std::string name, std::string worker)
    : conversation_(conversation), name_(std::move(name)), worker_(std::move(worker)) {}

Json ServiceReference::call(std::string_view method, Json arguments) const {
  return conversation_.call("callService",
                            {{"name", name_}, {"method", method}, {"arguments", std::move(arguments)}});
}

Context::Context(Conversation& conversation, std::string run_id, std::int64_t run)
    : conversation_(conversation), stop_(conversation), run_id_(std::move(run_id)), run_(run) {}

Json Context::create_task(Json request) {
  return conversation_.call("createTask", std::move(request));
}

std::vector<Json> Context::get_tasks(Json filter) {
  return list_of(conversation_.call("getTasks", std::move(filter)));
}

std::vector<Json> Context::get_tasks_by_type(std::string_view type) {
  return list_of(conversation_.call("getTasksByType", {{"type", type}}));
}

std::optional<Json> Context::get_task(std::string_view id) {
  Json task = conversation_.call("getTask", {{"id", id}});
  if (task.is_null()) return std::nullopt;
  return task;
}

Json Context::update_task(std::string_view id, Json changes) {
  return conversation_.call("updateTask", {{"id", id}, {"changes", std::move(changes)}});
}

void Context::delete_task(std::string_view id) {
  conversation_.call("deleteTask", {{"id", id}});
}

Json Context::create_message(Json content) {
  return create_message(std::move(content), {});
}

Json Context::create_message(Json content, std::string_view room_id, std::string_view world_id) {
  Json arguments = {{"content", std::move(content)}};
  if (!room_id.empty()) arguments["roomId"] = room_id;
  if (!world_id.empty()) arguments["worldId"] = world_id;
  return conversation_.call("createMessage", std::move(arguments));
}

std::vector<Json> Context::get_messages(std::string_view room_id, std::optional<std::int64_t> limit) {
  Json arguments = {{"roomId", room_id}};
  if (limit) arguments["limit"] = *limit;
  return list_of(conversation_.call("getMessages", std::move(arguments)));
}

std::optional<ServiceReference> Context::get_service(std::string_view name) {
  const Json service = conversation_.call("getService", {{"name", name}});
  if (!service.is_object()) return std::nullopt;
  return std::make_optional<ServiceReference>(conversation_, std::string(name),
                                              service.value("worker", std::string()));
}

// ---- telling

void Context::progress(std::string_view text, std::optional<int> percent) {
  Json progress = {{"text", text}};
  if (percent) progress["percent"] = *percent;
  conversation_.send({{"progress", std::move(progress)}});
}

void Context::log(std::string_view text) const {
  const std::string line = std::string(text) + '\n';
  (void)std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace agenttask::worker

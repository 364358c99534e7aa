#include "agent/workers/worker_protocol.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/message.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;

constexpr std::size_t kTextBytes = 4096;
constexpr std::size_t kCodeBytes = 128;
constexpr std::size_t kNameBytes = 64;
constexpr std::string_view kBlanks = " \t\r";

std::string_view without_blanks(std::string_view text) {
  const auto begin = text.find_first_not_of(kBlanks);
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

/// Whether a line that could not be read was meant to say how the work ended: then it can't be passed over.
bool begins_as_answer(std::string_view line) {
  line = without_blanks(line);
  return line.starts_with(R"({"result":)") || line.starts_with(R"({"error":)");
}

WorkerOutput no_message(std::string_view line, const std::string& why) {
  return begins_as_answer(line) ? WorkerOutput{why} : WorkerOutput{};
}

/// `text` cut to `most` bytes, between characters.
std::string shortened(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  text.resize(most);
  text.resize(text.size() - incomplete_utf8_tail(text));
  return text;
}

std::optional<WorkerLine> read_call(const json& value) {
  ObjectReader reader(value, ObjectReader::Unknown::refuse);
  reader.require("id");
  reader.require("name");
  WorkerCall call;
  call.id = reader.integer("id", INT64_MIN, INT64_MAX).value_or(0);
  call.name = reader.text("name", kNameBytes, 1).value_or("");
  if (const json* arguments = reader.object("arguments")) call.arguments = encode_json(*arguments);
  if (reader.finish()) return std::nullopt;
  return call;
}

std::optional<WorkerLine> read_progress(const json& value) {
  ObjectReader reader(value, ObjectReader::Unknown::refuse);
  WorkerProgress progress{reader.text("text", kWorkerLineBytes).value_or("")};
  const auto percent = reader.integer("percent", 0, 100);
  if (reader.finish() || (progress.text.empty() && !percent)) return std::nullopt;
  progress.text = shortened(std::move(progress.text), kTextBytes);
  if (percent) progress.text += (progress.text.empty() ? "" : " ") + std::to_string(*percent) + " %";
  return progress;
}

std::optional<WorkerLine> read_failure(const json& value) {
  ObjectReader reader(value, ObjectReader::Unknown::refuse);
  WorkerFailure failure;
  failure.code = shortened(reader.text("code", kWorkerLineBytes).value_or(""), kCodeBytes);
  failure.message = shortened(reader.text("message", kWorkerLineBytes).value_or(""), kTextBytes);
  if (const json* data = reader.object("data")) failure.data = encode_json(*data);
  if (reader.finish()) return std::nullopt;
  return failure;
}

/// `{"valid":true}`, `{"valid":false,"detail":"why"}`
std::optional<WorkerLine> read_valid(const json& line) {
  ObjectReader reader(line, ObjectReader::Unknown::refuse);
  WorkerValid valid;
  valid.valid = reader.boolean("valid").value_or(false);
  valid.detail = shortened(reader.text("detail", kWorkerLineBytes).value_or(""), kTextBytes);
  if (reader.finish()) return std::nullopt;
  return valid;
}

std::optional<WorkerLine> read_member(const std::string& name, const json& value) {
  if (name == "result") return WorkerResultLine{encode_json(value), value.is_object()};
  if (!value.is_object()) return std::nullopt;
  if (name == "call") return read_call(value);
  if (name == "progress") return read_progress(value);
  if (name == "error") return read_failure(value);
  return std::nullopt;
}

std::string line_of(const json& value) {
  return encode_json(value) + "\n";
}

/// Whether what follows a brace begins with a member that messages have. A worker that logs JSON by the
/// million lines costs no parsing.
bool may_be_message(std::string_view text) {
  const auto quote = text.find_first_not_of(" \t\r");
  if (quote == std::string_view::npos || text[quote] != '"') return false;
  text.remove_prefix(quote + 1);
  for (const std::string_view member : {"call", "valid", "detail", "progress", "result", "error"}) {
    if (text.starts_with(member) && text.substr(member.size()).starts_with('"')) return true;
  }
  return text.starts_with('\\');  // an escaped name
}

}  // namespace

WorkerLine parse_worker_line(std::string_view line) {
  const auto text = without_blanks(line);
  if (!text.starts_with('{') || !may_be_message(text.substr(1))) return WorkerOutput{};
  const auto value = parse_json(line, limits::kJsonDepth + 4);
  if (!value) return no_message(line, value.error().message);
  if (!value->is_object() || value->empty()) return WorkerOutput{};
  if (value->contains("valid")) return read_valid(*value).value_or(WorkerOutput{});
  const auto member = value->begin();
  if (value->size() != 1) return no_message(line, "it has other members beside");
  return read_member(member.key(), member.value())
      .value_or(no_message(line, "it is not what docs/workers.md says"));
}

void WorkerLines::pass_on() {
  if (begins_as_answer(held_)) lost_an_answer_ = true;
  output_(held_);
  held_.clear();
  held_.shrink_to_fit();
  passing_ = true;
}

void WorkerLines::take(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto end = bytes.find('\n');
    const bool complete = end != std::string_view::npos;
    const std::string_view part = bytes.substr(0, end);
    if (passing_) {
      output_(bytes.substr(0, complete ? end + 1 : end));
      passing_ = !complete;
    } else if (held_.empty() && !part.empty() && !without_blanks(part).starts_with('{') &&
               !without_blanks(part).empty()) {
      output_(bytes.substr(0, complete ? end + 1 : end));
      passing_ = !complete;
    } else {
      held_ += part;
      const auto text = without_blanks(held_);
      if (held_.size() > kWorkerLineBytes || (!text.empty() && text.front() != '{')) {
        pass_on();
        if (complete) output_("\n");
        passing_ = !complete;
      } else if (complete) {
        line_(held_, "\n");
        held_.clear();
      }
    }
    if (!complete) return;
    bytes.remove_prefix(end + 1);
  }
}

void WorkerLines::finish() {
  if (!held_.empty()) line_(std::exchange(held_, {}), "");
}

std::string encode_validate(const Task& task) {
  return line_of({{"validate", {{"task", task_to_json(task, Detail::full)}}}});
}

std::string encode_execute(const Task& task, const std::string& run_id, std::int64_t run) {
  auto options = parse_json(task.spec.data);
  json given = options && options->is_object() ? std::move(*options) : json::object();
  if (task.state.chosen) given["option"] = task.state.chosen->option;
  return line_of({{"execute",
                   {{"protocol", protocol_version()},
                    {"runId", run_id},
                    {"run", run},
                    {"options", std::move(given)},
                    {"task", task_to_json(task, Detail::full)}}}});
}

std::string encode_serve(const std::string& service, const std::string& method, const json& arguments) {
  return line_of({{"serve", {{"service", service}, {"method", method}, {"arguments", arguments}}}});
}

CallAnswer CallAnswer::problem(const Error& error) {
  CallAnswer answer;
  answer.code = to_string(error.code);
  answer.message = error.message;
  answer.field = error.field;
  return answer;
}

std::string encode_answer(std::int64_t id, const CallAnswer& answer) {
  const std::string begin = R"({"answer":{"id":)" + std::to_string(id) + ",";
  if (answer.code.empty()) return begin + R"("result":)" + answer.result + "}}\n";
  // Messages may quote what the worker wrote.
  const auto text = [](const std::string& bytes) {
    return is_utf8(bytes) ? bytes : "base64:" + base64_encode(bytes);
  };
  json problem = {{"code", text(answer.code)}, {"message", text(answer.message)}};
  if (!answer.field.empty()) problem["field"] = text(answer.field);
  return begin + R"("problem":)" + encode_json(problem) + "}}\n";
}

std::string encode_stop(StopCause cause) {
  return line_of({{"stop", {{"cause", to_string(cause == StopCause::none ? StopCause::cancel : cause)}}}});
}

}  // namespace agenttask::agent

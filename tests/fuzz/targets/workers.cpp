// What custom workers write: their lines, their manifests, the schemas in those.
#include <nlohmann/json.hpp>

#include "agent/workers/data_schema.hpp"
#include "agent/workers/worker_manifest.hpp"
#include "agent/workers/worker_protocol.hpp"
#include "platform/base/encoding.hpp"
#include "platform/protocol/json.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"

namespace agenttask::fuzz {
namespace {

using namespace agent;
using nlohmann::json;

constexpr std::size_t kText = 4096 + 16;  ///< what is kept of a text, and a percentage

json own_text(const std::string& text) {
  auto value = parse_json(text, limits::kJsonDepth + 4);
  hold(static_cast<bool>(value), "what is kept of a line is JSON", text);
  return *value;
}

struct HoldLine {
  void operator()(const WorkerOutput& output) const { hold(is_utf8(output.fault), "a fault is UTF-8"); }
  void operator()(const WorkerValid& valid) const {
    hold(valid.detail.size() <= kText, "a detail is bounded");
  }
  void operator()(const WorkerProgress& progress) const {
    hold(!progress.text.empty() && progress.text.size() <= kText && is_utf8(progress.text),
         "progress is bounded");
  }
  void operator()(const WorkerResultLine& result) const {
    hold(own_text(result.value).is_object() == result.is_object, "a result is what it is said to be");
  }
  void operator()(const WorkerFailure& failure) const {
    hold(failure.code.size() <= kText && failure.message.size() <= kText, "a failure is bounded");
    hold(is_utf8(failure.code) && is_utf8(failure.message), "a failure is UTF-8");
    if (!failure.data.empty()) hold(own_text(failure.data).is_object(), "a failure's data is an object");
  }
  void operator()(const WorkerCall& call) const {
    const json line = {
        {"call", {{"id", call.id}, {"name", call.name}, {"arguments", own_text(call.arguments)}}}};
    const auto again = parse_worker_line(encode_json(line));
    const auto* same = std::get_if<WorkerCall>(&again);
    hold(same != nullptr && same->id == call.id && same->name == call.name &&
             same->arguments == call.arguments,
         "a call is taken again as it is", encode_json(line));
  }
};

/// All that comes out of a stream that comes in pieces of `step`; lines in brackets.
std::string cut(std::string_view bytes, std::size_t step, bool with_marks) {
  std::string all;
  WorkerLines lines(
      [&](std::string_view line, std::string_view newline) {
        hold(line.find('\n') == std::string_view::npos && line.size() <= kWorkerLineBytes,
             "a line is one line");
        if (with_marks) all += '\x01';
        all += line;
        all += newline;
      },
      [&](std::string_view output) { all += output; });
  while (!bytes.empty()) {
    lines.take(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
  }
  lines.finish();
  return all;
}

}  // namespace

void worker_line(std::string_view bytes) {
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const auto line = take_line(rest);
    std::visit(HoldLine{}, parse_worker_line(line));
  }
  const std::size_t step = bytes.empty() ? 1 : 1 + static_cast<unsigned char>(bytes.back()) % 32;
  hold(cut(bytes, step, false) == bytes, "no byte of a worker's output is lost");
  hold(cut(bytes, step, true) == cut(bytes, 4096, true), "how output is cut into pieces changes nothing");
  const auto answer = encode_answer(1, CallAnswer::problem({ErrorCode::invalid, std::string(bytes), "x"}));
  hold(answer.find('\n') == answer.size() - 1 && own_text(answer).is_object(),
       "an answer is one line of JSON");
}

void worker_manifest(std::string_view bytes) {
  const auto manifest = parse_worker_manifest(bytes);
  if (!manifest) return hold_refusal(manifest.error());
  hold(!manifest->command.empty() && !manifest->command.front().empty(), "a manifest names a program");
  hold(!manifest->types.empty() || !manifest->services.empty(), "a manifest says what it is for");
  for (const auto& type : manifest->types) {
    hold(!type.empty() && type.size() <= limits::kTypeBytes && type != "echo" && type != "command",
         "a type is a name, and not a built-in one", type);
  }
  for (const auto& argument : manifest->command)
    hold(argument.find('\0') == std::string::npos, "an argument can be handed to a program");
  for (const auto& [name, value] : manifest->environment)
    hold(!name.empty() && name.find('=') == std::string::npos, "a variable has a name", name);
  hold(manifest->timeout >= 0 && manifest->timeout <= limits::kTimeoutMilliseconds, "a timeout is bounded");
}

void data_schema(std::string_view bytes) {
  std::string_view rest = bytes;
  const auto document = read_json(take_line(rest));
  if (!document) return;
  const auto schema = DataSchema::parse(*document);
  if (!schema) return hold_refusal(schema.error());
  for (const char* plain : {"{}", R"({"a":1})", R"({"a":[],"b":{"a":{"a":{}}}})"}) {
    const auto checked = (*schema)->check(*parse_json(plain));
    if (!checked) hold_refusal_names_field(checked.error());
  }
  const auto data = read_json(rest);
  if (!data) return;
  const auto checked = (*schema)->check(*data);
  if (!checked) hold_refusal_names_field(checked.error());
  hold(static_cast<bool>((*schema)->check(*data)) == static_cast<bool>(checked),
       "a check always says the same");
}

}  // namespace agenttask::fuzz

#include "platform/protocol/message.hpp"

#include <charconv>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask {
namespace {

using nlohmann::json;
using Unknown = ObjectReader::Unknown;

constexpr std::size_t kSmallText = 256;
constexpr std::size_t kProblemText = 4096;
constexpr std::size_t kMostPredecessors = 10'000;
constexpr std::size_t kMostReason = 1024;
constexpr std::size_t kMostWatched = 1000;

template <class... Bodies>
struct Overloaded : Bodies... {
  using Bodies::operator()...;
};
template <class... Bodies>
Overloaded(Bodies...) -> Overloaded<Bodies...>;  // clang 14 needs it

json cursor_to_json(const Cursor& cursor) {
  return {{"sequence", cursor.sequence}, {"chain", cursor.chain}};
}

bool is_chain(const Cursor& cursor) {
  if (cursor.sequence == 0) return cursor.chain.empty();
  return cursor.chain.size() == 64 && cursor.chain.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Cursor read_cursor(ObjectReader& outer, std::string_view name) {
  Cursor cursor;
  outer.require(name);
  const auto* value = outer.object(name);
  if (value == nullptr) return cursor;
  ObjectReader reader(*value, Unknown::ignore, outer.path_of(name));
  reader.require("sequence");
  cursor.sequence = reader.integer("sequence", 0, INT64_MAX - 1).value_or(0);
  cursor.chain = reader.text("chain", 64).value_or("");
  if (!is_chain(cursor)) reader.refuse("chain", "must be 64 hexadecimal digits, or empty at sequence 0");
  if (auto error = reader.finish()) outer.refuse(std::move(*error));
  return cursor;
}

std::string read_id(ObjectReader& reader, std::string_view name) {
  reader.require(name);
  auto id = reader.text(name, 36).value_or("");
  if (!reader.failed() && !is_uuid(id)) reader.refuse(name, "must be a UUID");
  return normalize_uuid(id);
}

/// Reads a nested object with one of the codecs.
template <class Value>
Value read_part(ObjectReader& reader, std::string_view name, Result<Value> (*read)(const json&)) {
  reader.require(name);
  const auto* part = reader.object(name);
  if (part == nullptr) return {};
  auto value = read(*part);
  if (!value) {
    reader.refuse(with_context(value.error(), name));
    return {};
  }
  return std::move(*value);
}

std::string line_of(std::string_view kind, std::int64_t sequence, json body) {
  body["kind"] = kind;
  body["sequence"] = sequence;
  return encode_json(body);
}

/// The lines of a body: a first line, then messages. Empty lines are a fault: the chain would not know them.
Result<std::vector<std::string>> split_lines(std::string_view text, std::size_t most) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto line = text.substr(0, end);
    if (line.empty()) return Error{ErrorCode::invalid, "an empty line between messages"};
    if (lines.size() > most)
      return Error{ErrorCode::limit, "more than " + std::to_string(most) + " messages in one body"};
    lines.emplace_back(line);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  if (lines.empty()) return Error{ErrorCode::invalid, "the body is empty"};
  return lines;
}

std::string join_lines(std::string first, const std::vector<std::string>& lines) {
  std::size_t size = first.size() + 1;
  for (const auto& line : lines) size += line.size() + 1;
  first.reserve(size);
  first += '\n';
  for (const auto& line : lines) {
    first += line;
    first += '\n';
  }
  return first;
}

/// Parses a line and hands it to `read`; every fault inside a message becomes an UnknownMessage, so that the
/// cursor can pass.
template <class Message, class Read>
Result<Message> decode_line(std::string_view line, Read read) {
  const auto value = parse_json(line, limits::kJsonDepth + 8);
  if (!value) return with_context(value.error(), "a message of the stream");
  ObjectReader reader(*value, Unknown::ignore);
  reader.require("sequence");
  Message message;
  message.sequence = reader.integer("sequence", 1, INT64_MAX - 1).value_or(0);
  if (reader.failed()) return with_context(*reader.finish(), "a message of the stream");
  reader.require("kind");
  const std::string kind = reader.text("kind", 64).value_or("");
  if (!reader.failed() && !read(reader, kind, message)) reader.refuse("kind", "is not known to this version");
  if (auto error = reader.finish()) message.body = UnknownMessage{kind, error->message};
  return message;
}

bool read_directive(ObjectReader& reader, const std::string& kind, Directive& directive) {
  if (kind == "task") {
    TaskDirective body{read_part<TaskSpec>(reader, "task", spec_from_json), 0};
    if (const auto* task = reader.object("task")) {
      ObjectReader inner(*task, Unknown::ignore, "task");
      body.add_time = inner.integer("addTime", 0, limits::kLatestTime).value_or(0);
      if (auto error = inner.finish()) reader.refuse(std::move(*error));
    }
    directive.body = std::move(body);
  } else if (kind == "update") {
    UpdateDirective body{read_id(reader, "taskId"), {}};
    reader.require("changes");
    if (const auto* changes = reader.object("changes")) body.changes = encode_json(*changes);
    directive.body = std::move(body);
  } else if (kind == "cancel") {
    directive.body = CancelDirective{read_id(reader, "taskId")};
  } else if (kind == "delete") {
    directive.body = DeleteDirective{read_id(reader, "taskId")};
  } else if (kind == "choose") {
    ChooseDirective body{read_id(reader, "taskId"),
                         read_part<ChoiceMade>(reader, "choice", choice_made_from_json),
                         reader.integer("occurrence", 0, INT64_MAX), reader.integer("runs", 0, INT64_MAX)};
    directive.body = std::move(body);
  } else if (kind == "pause") {
    directive.body = PauseDirective{read_id(reader, "taskId")};
  } else if (kind == "resume") {
    directive.body = ResumeDirective{read_id(reader, "taskId")};
  } else if (kind == "run") {
    RunDirective body{read_id(reader, "taskId"), reader.integer("runs", 0, INT64_MAX),
                      reader.has("request") ? read_id(reader, "request") : std::string()};
    directive.body = std::move(body);
  } else if (kind == "settings") {
    SettingsDirective body;
    reader.require("settings");
    if (const auto* settings = reader.object("settings")) {
      ObjectReader inner(*settings, Unknown::ignore, "settings");
      body.hold = inner.boolean("hold");
      if (auto error = inner.finish()) reader.refuse(std::move(*error));
    }
    directive.body = body;
  } else {
    return false;
  }
  return true;
}

std::int64_t read_run_number(ObjectReader& reader) {
  reader.require("run");
  return reader.integer("run", 1, INT64_MAX).value_or(1);
}

CreatedReport read_created(ObjectReader& reader) {
  CreatedReport body{
      read_part<Task>(reader, "task", task_from_json), {}, reader.boolean("snapshot").value_or(false)};
  if (const auto* runs = reader.array("runs", 100'000)) {
    for (const auto& item : *runs) {
      auto run = run_from_json(item);
      if (!run) {
        reader.refuse(with_context(run.error(), "runs"));
        break;
      }
      body.runs.push_back(std::move(*run));
    }
  }
  return body;
}

bool read_report(ObjectReader& reader, const std::string& kind, Report& report) {
  if (kind == "started") {
    StartedReport body{read_id(reader, "taskId"), read_run_number(reader), 0, 0, {}};
    reader.require("time");
    body.time = reader.integer("time", 0, limits::kLatestTime).value_or(0);
    body.occurrence = reader.integer("occurrence", 0, INT64_MAX).value_or(0);
    body.option = reader.text("option", limits::kChoiceNameBytes).value_or("");
    report.body = std::move(body);
  } else if (kind == "output") {
    std::string id = read_id(reader, "taskId");
    const auto run = read_run_number(reader);
    report.body = OutputReport{std::move(id), run, read_part<OutputChunk>(reader, "chunk", chunk_from_json)};
  } else if (kind == "ended") {
    EndedReport body{read_id(reader, "taskId"), std::nullopt,
                     read_part<TaskState>(reader, "state", state_from_json)};
    if (reader.has("run")) {
      body.run = read_part<Run>(reader, "run", run_from_json);
      body.state.result = body.run->result;  // travels once
    }
    report.body = std::move(body);
  } else if (kind == "chosen") {
    std::string id = read_id(reader, "taskId");
    report.body = ChosenReport{std::move(id), read_part<TaskState>(reader, "state", state_from_json)};
  } else if (kind == "message") {
    report.body = MessageReport{read_part<RoomMessage>(reader, "message", room_message_from_json)};
  } else if (kind == "changed") {
    report.body = ChangedReport{read_part<Task>(reader, "task", task_from_json)};
  } else if (kind == "created") {
    report.body = read_created(reader);
  } else if (kind == "snapshot-end") {
    report.body = SnapshotEndReport{reader.integer("tasks", 0, INT64_MAX).value_or(0)};
  } else if (kind == "refused") {
    RefusedReport body;
    body.directive = reader.integer("directive", 0, INT64_MAX).value_or(0);
    body.task_id = reader.text("taskId", 36).value_or("");
    body.code = reader.text("code", 64).value_or("");
    body.message = reader.explanation("message", kProblemText).value_or("");
    report.body = std::move(body);
  } else {
    return false;
  }
  return true;
}

/// The first line of an NDJSON body, read by `read`; the lines after it go to `lines`.
template <class Body, class Read>
Result<Body> decode_body(std::string_view text, std::size_t most, Read read) {
  auto lines = split_lines(text, most);
  if (!lines) return lines.error();
  const auto value = parse_json(lines->front());
  if (!value) return with_context(value.error(), "the first line");
  ObjectReader reader(*value, Unknown::ignore);
  Body body = read(reader);
  if (auto error = reader.finish()) return *error;
  lines->erase(lines->begin());
  body.lines = std::move(*lines);
  return body;
}

std::int64_t read_epoch(ObjectReader& reader) {
  reader.require("epoch");
  return reader.integer("epoch", 0, INT64_MAX / 2).value_or(0);
}

std::string read_protocol(ObjectReader& reader) {
  reader.require("protocol");
  return reader.text("protocol", 16).value_or("");
}

}  // namespace

std::string protocol_version() {
  return std::to_string(kProtocolMajor) + "." + std::to_string(kProtocolMinor);
}

bool understands_protocol(std::string_view version) {
  int major = 0;
  int minor = 0;
  const auto* end = version.data() + version.size();
  const auto first = std::from_chars(version.data(), end, major);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return false;
  const auto second = std::from_chars(first.ptr + 1, end, minor);
  // A newer minor version understands ours: it looks two back itself, and both ignore what they don't know.
  return second.ec == std::errc() && second.ptr == end && major == kProtocolMajor &&
         minor >= kProtocolMinor - 2 && minor >= 0;
}

std::string encode(const Directive& directive) {
  const auto with_id = [](const std::string& id) { return json{{"taskId", id}}; };
  const auto line = [&](std::string_view kind, json body) {
    return line_of(kind, directive.sequence, std::move(body));
  };
  return std::visit(
      Overloaded{[&](const TaskDirective& body) {
                   json task = spec_to_json(body.spec);
                   task["addTime"] = body.add_time;
                   return line("task", {{"task", std::move(task)}});
                 },
                 [&](const UpdateDirective& body) {
                   json value = with_id(body.task_id);
                   value["changes"] = json::parse(body.changes, nullptr, false);
                   return line("update", std::move(value));
                 },
                 [&](const CancelDirective& body) { return line("cancel", with_id(body.task_id)); },
                 [&](const DeleteDirective& body) { return line("delete", with_id(body.task_id)); },
                 [&](const ChooseDirective& body) {
                   json value = with_id(body.task_id);
                   value["choice"] = choice_made_to_json(body.made);
                   if (body.occurrence) value["occurrence"] = *body.occurrence;
                   if (body.runs) value["runs"] = *body.runs;
                   return line("choose", std::move(value));
                 },
                 [&](const PauseDirective& body) { return line("pause", with_id(body.task_id)); },
                 [&](const ResumeDirective& body) { return line("resume", with_id(body.task_id)); },
                 [&](const RunDirective& body) {
                   json value = with_id(body.task_id);
                   if (body.runs) value["runs"] = *body.runs;
                   if (!body.request.empty()) value["request"] = body.request;
                   return line("run", std::move(value));
                 },
                 [&](const SettingsDirective& body) {
                   json settings = json::object();
                   if (body.hold) settings["hold"] = *body.hold;
                   return line("settings", {{"settings", std::move(settings)}});
                 },
                 [&](const UnknownMessage& body) { return line(body.kind, json::object()); }},
      directive.body);
}

std::string encode(const Report& report) {
  const auto line = [&](std::string_view kind, json body) {
    return line_of(kind, report.sequence, std::move(body));
  };
  return std::visit(
      Overloaded{
          [&](const StartedReport& body) {
            json value = {{"taskId", body.task_id}, {"run", body.run}, {"time", body.time}};
            if (body.occurrence != 0) value["occurrence"] = body.occurrence;
            if (!body.option.empty()) value["option"] = body.option;
            return line("started", std::move(value));
          },
          [&](const OutputReport& body) {
            return line("output",
                        {{"taskId", body.task_id}, {"run", body.run}, {"chunk", chunk_to_json(body.chunk)}});
          },
          [&](const EndedReport& body) {
            json value = {{"taskId", body.task_id},
                          {"state", state_to_json(body.state, body.run ? Detail::summary : Detail::full)}};
            if (body.run) value["run"] = run_to_json(*body.run);
            return line("ended", std::move(value));
          },
          [&](const ChosenReport& body) {
            return line("chosen",
                        {{"taskId", body.task_id}, {"state", state_to_json(body.state, Detail::summary)}});
          },
          [&](const MessageReport& body) {
            return line("message", {{"message", room_message_to_json(body.message)}});
          },
          [&](const ChangedReport& body) {
            return line("changed", {{"task", task_to_json(body.task, Detail::summary)}});
          },
          [&](const CreatedReport& body) {
            json runs = json::array();
            for (const auto& run : body.runs) runs.push_back(run_to_json(run));
            json value = {{"task", task_to_json(body.task, Detail::full)}, {"runs", std::move(runs)}};
            if (body.snapshot) value["snapshot"] = true;
            return line("created", std::move(value));
          },
          [&](const SnapshotEndReport& body) {
            return line("snapshot-end", {{"tasks", body.tasks}});
          },
          [&](const RefusedReport& body) {
            json value = {{"directive", body.directive}, {"code", body.code}, {"message", body.message}};
            if (!body.task_id.empty()) value["taskId"] = body.task_id;
            return line("refused", std::move(value));
          },
          [&](const UnknownMessage& body) { return line(body.kind, json::object()); }},
      report.body);
}

Result<Directive> decode_directive(std::string_view line) {
  return decode_line<Directive>(line, read_directive);
}

Result<Report> decode_report(std::string_view line) {
  return decode_line<Report>(line, read_report);
}

namespace {

json workers_to_json(const WorkerSummary& workers) {
  const auto bounded = [](const std::vector<std::string>& names) {
    const auto most = std::min(names.size(), WorkerSummary::kMostNames);
    return json(std::vector<std::string>(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(most)));
  };
  return {{"types", bounded(workers.types)},
          {"services", bounded(workers.services)},
          {"problems", workers.problems}};
}

std::optional<WorkerSummary> read_workers(ObjectReader& outer) {
  const json* value = outer.object("workers");
  if (value == nullptr) return std::nullopt;
  ObjectReader reader(*value, Unknown::ignore, outer.path_of("workers"));
  WorkerSummary workers;
  for (auto* names : {&workers.types, &workers.services}) {
    const char* member = names == &workers.types ? "types" : "services";
    *names = reader.texts(member, WorkerSummary::kMostNames, limits::kTypeBytes, 1)
                 .value_or(std::vector<std::string>());
  }
  workers.problems = reader.integer("problems", 0, INT32_MAX).value_or(0);
  if (auto error = reader.finish()) outer.refuse(std::move(*error));
  return workers;
}

json problem_to_json(const LedgerProblem& problem) {
  return {{"problem", problem.code}, {"detail", problem.detail}};
}

std::optional<LedgerProblem> read_ledger_problem(ObjectReader& outer) {
  const json* value = outer.object("ledger");
  if (value == nullptr) return std::nullopt;
  ObjectReader reader(*value, Unknown::ignore, outer.path_of("ledger"));
  reader.require("problem");
  LedgerProblem problem;
  problem.code = reader.text("problem", 64, 1).value_or("");
  problem.detail = reader.text("detail", kMostReason).value_or("");
  if (auto error = reader.finish()) outer.refuse(std::move(*error));
  return problem;
}

/// What a poll says of the device's past.
void read_past(ObjectReader& reader, PollRequest& request) {
  request.epoch = read_epoch(reader);
  request.directives = read_cursor(reader, "directives");
  request.reports = read_cursor(reader, "reports");
  reader.require("incarnation");
  request.incarnation = reader.text("incarnation", 64, 1).value_or("");
  request.predecessors =
      reader.texts("predecessors", kMostPredecessors, 64).value_or(std::vector<std::string>());
  request.incomplete = reader.boolean("incomplete").value_or(false);
}

}  // namespace

std::string encode(const WorkerSummary& workers) {
  return encode_json(workers_to_json(workers));
}

std::string encode(const LedgerProblem& problem) {
  return encode_json(problem_to_json(problem));
}

std::string encode(const PollRequest& request) {
  json value = {{"protocol", request.protocol}, {"version", request.version},  {"platform", request.platform},
                {"name", request.name},         {"wait", request.wait},        {"time", request.time},
                {"hold", request.hold},         {"watching", request.watching}};
  if (request.ledger) {
    value["ledger"] = problem_to_json(*request.ledger);
  } else {
    value.update({{"epoch", request.epoch},
                  {"directives", cursor_to_json(request.directives)},
                  {"reports", cursor_to_json(request.reports)},
                  {"incarnation", request.incarnation},
                  {"predecessors", request.predecessors}});
    if (request.incomplete) value["incomplete"] = true;
  }
  if (request.quarantined) value["quarantined"] = true;
  if (request.workers) value["workers"] = workers_to_json(*request.workers);
  return encode_json(value);
}

Result<PollRequest> decode_poll_request(std::string_view text) {
  const auto value = parse_json(text);
  if (!value) return value.error();
  ObjectReader reader(*value, Unknown::ignore);
  PollRequest request;
  request.protocol = read_protocol(reader);
  request.version = reader.text("version", kSmallText).value_or("");
  request.platform = reader.text("platform", kSmallText).value_or("");
  request.name = reader.text("name", limits::kNodeNameBytes).value_or("");
  request.ledger = read_ledger_problem(reader);
  if (!request.ledger) read_past(reader, request);
  request.wait = reader.integer("wait", 0, INT64_MAX).value_or(0);
  request.time = reader.integer("time", 0, limits::kLatestTime).value_or(0);
  request.hold = reader.boolean("hold").value_or(false);
  request.watching = reader.texts("watching", kMostWatched, 64).value_or(std::vector<std::string>());
  request.quarantined = reader.boolean("quarantined").value_or(false);
  request.workers = read_workers(reader);
  if (auto error = reader.finish()) return *error;
  return request;
}

std::string encode(const PollAnswer& answer) {
  json head = {{"protocol", answer.protocol}, {"epoch", answer.epoch}, {"time", answer.time}};
  if (answer.resync) head["resync"] = true;
  if (!answer.quarantined.empty()) head["quarantined"] = answer.quarantined;
  if (!answer.name.empty()) head["name"] = answer.name;
  if (!answer.watch.empty()) head["watch"] = answer.watch;
  if (answer.after) head["after"] = cursor_to_json(*answer.after);
  return join_lines(encode_json(head), answer.lines);
}

Result<PollAnswer> decode_poll_answer(std::string_view text) {
  return decode_body<PollAnswer>(text, limits::kDirectivesInPoll, [](ObjectReader& reader) {
    PollAnswer answer;
    answer.protocol = read_protocol(reader);
    answer.epoch = read_epoch(reader);
    answer.resync = reader.boolean("resync").value_or(false);
    answer.quarantined = reader.text("quarantined", kMostReason).value_or("");
    answer.time = reader.integer("time", 0, limits::kLatestTime).value_or(0);
    answer.name = reader.text("name", limits::kNodeNameBytes).value_or("");
    answer.watch = reader.texts("watch", kMostWatched, 64).value_or(std::vector<std::string>());
    if (reader.has("after")) answer.after = read_cursor(reader, "after");
    return answer;
  });
}

std::string encode(const ReportBatch& batch) {
  return join_lines(encode_json({{"protocol", batch.protocol},
                                 {"epoch", batch.epoch},
                                 {"incarnation", batch.incarnation},
                                 {"after", cursor_to_json(batch.after)}}),
                    batch.lines);
}

Result<ReportBatch> decode_report_batch(std::string_view text) {
  return decode_body<ReportBatch>(text, limits::kReportsInPost, [](ObjectReader& reader) {
    ReportBatch batch;
    batch.protocol = read_protocol(reader);
    batch.epoch = read_epoch(reader);
    reader.require("incarnation");
    batch.incarnation = reader.text("incarnation", 64, 1).value_or("");
    batch.after = read_cursor(reader, "after");
    return batch;
  });
}

std::string encode(const ReportAnswer& answer) {
  json value = {{"epoch", answer.epoch}, {"reports", cursor_to_json(answer.reports)}};
  if (answer.resync) value["resync"] = true;
  return encode_json(value);
}

Result<ReportAnswer> decode_report_answer(std::string_view text) {
  const auto value = parse_json(text);
  if (!value) return value.error();
  ObjectReader reader(*value, Unknown::ignore);
  ReportAnswer answer;
  answer.epoch = read_epoch(reader);
  answer.resync = reader.boolean("resync").value_or(false);
  answer.reports = read_cursor(reader, "reports");
  if (auto error = reader.finish()) return *error;
  return answer;
}

}  // namespace agenttask

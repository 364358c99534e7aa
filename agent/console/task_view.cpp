#include "agent/console/task_view.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console/json_access.hpp"
#include "agent/console/table.hpp"
#include "agent/console/text.hpp"
#include "agent/console/time_text.hpp"
#include "platform/base/encoding.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

constexpr std::size_t kWide = 120;        ///< columns in which whole ids leave room for the rest
constexpr std::size_t kIdEnd = 12;        ///< the last group of a UUID
constexpr std::size_t kLinesShown = 40;   ///< of each stream on the page of a task
constexpr std::size_t kDataShown = 2000;  ///< bytes of data and result on the page of a task

/// A stream of a command's result: text, or base64 where the bytes are not text.
std::string output_of(const json& data, const std::string& stream) {
  std::string text = text_of(data, stream.c_str());
  if (text_of(data, (stream + "Encoding").c_str()) != "base64") return text;
  auto bytes = base64_decode(text);
  return bytes ? std::move(*bytes) : text;
}

RunResult read_result(const json& value) {
  RunResult result;
  if (!value.is_object()) return result;
  result.present = true;
  result.success = flag_of(value, "success");
  if (const json* error = member_of(value, "error")) {
    result.code = text_of(*error, "code");
    result.message = text_of(*error, "message");
  }
  const json* data = member_of(value, "data");
  // What is known of a run is beside the data that a worker gave, and in that of a command.
  const json* output = member_of(value, "output");
  if (const json* facts = output != nullptr ? output : data; facts != nullptr) {
    result.duration = integer_of(*facts, "durationMs");
    result.stdout_bytes = integer_of(*facts, "stdoutBytes");
    result.stderr_bytes = integer_of(*facts, "stderrBytes");
    result.truncated = flag_of(*facts, "truncated");
  }
  if (data == nullptr) return result;
  if (const auto code = integer_of(*data, "exitCode")) result.exit_code = static_cast<int>(*code);
  if (const auto number = integer_of(*data, "signal")) result.signal = static_cast<int>(*number);
  if (const json* survivors = member_of(*data, "survivors"); survivors != nullptr && survivors->is_array()) {
    for (const json& survivor : *survivors) result.survivors.push_back(encode_json(survivor));
  }
  result.standard_output = output_of(*data, "stdout");
  result.standard_error = output_of(*data, "stderr");
  result.data = encode_json(*data);
  return result;
}

std::string outcome_of(const RunResult& result) {
  if (!result.present) return {};
  if (result.signal) return "signal " + std::to_string(*result.signal);
  if (result.exit_code) return "exit " + std::to_string(*result.exit_code);
  return result.success ? "ok" : result.code;
}

Color color_of(TaskStatus status) {
  switch (status) {
    case TaskStatus::complete:
      return Color::good;
    case TaskStatus::failed:
      return Color::bad;
    case TaskStatus::cancelled:
      return Color::faint;
    case TaskStatus::running:
      return Color::busy;
    default:
      return Color::none;
  }
}

std::string when(const std::optional<UnixMilliseconds>& time, UnixMilliseconds now) {
  return time ? format_time(*time, now) : std::string();
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += separator;
    out += part;
  }
  return out;
}

std::string bounded(std::string text) {
  if (text.size() <= kDataShown) return text;
  const std::size_t size = text.size();
  text.resize(kDataShown);
  text.resize(text.size() - incomplete_utf8_tail(text));
  return text + "… (" + format_bytes(static_cast<std::int64_t>(size)) + "; --json shows all of it)";
}

std::string describe_options(const TaskOptions& options) {
  std::vector<std::string> parts;
  parts.push_back("timeout " +
                  (options.timeout == 0 ? std::string("none") : format_duration(options.timeout)));
  if (options.retry && options.retry->max_attempts > 1) {
    parts.push_back("at most " + std::to_string(options.retry->max_attempts) + " attempts");
  }
  if (options.on_interrupt == OnInterrupt::rerun) parts.emplace_back("run again when interrupted");
  if (options.max_output_bytes != limits::kDefaultMaxOutputBytes) {
    parts.push_back("keeps " + format_bytes(options.max_output_bytes) + " of each stream");
  }
  if (options.priority != 0) parts.push_back("priority " + std::to_string(options.priority));
  if (!options.concurrency_key.empty()) parts.push_back("key " + options.concurrency_key);
  if (options.outlives_agent) parts.emplace_back("outlives the agent");
  return join(parts, ", ");
}

/// What the schedule and the choices of a task come to.
void add_schedule(Fields& fields, const Task& task, UnixMilliseconds now, std::string_view verbs) {
  const TaskSpec& spec = task.spec;
  const TaskState& state = task.state;
  const bool ended = has_ended(state.status);
  fields.add("Schedule", describe_schedule(spec.schedule, now));
  if (state.paused && !ended) fields.add("Paused", "yes; " + std::string(verbs) + " resume lets it go on");
  fields.add("Next run", ended ? "" : when(state.next_run_at, now));
  if (spec.schedule.recurs()) {
    if (state.occurrence != 0) fields.add("Occurrence", std::to_string(state.occurrence));
    if (state.missed_count != 0) fields.add("Missed", std::to_string(state.missed_count));
  }
  if (spec.choices.empty()) return;
  fields.add("Choices", describe_choices(spec));
  if (spec.choice_expires_at) {
    fields.add("Choose until", spec.schedule.recurs() ? "first " + format_time(*spec.choice_expires_at, now) +
                                                            ", then as long after each occurrence"
                                                      : format_time(*spec.choice_expires_at, now));
  }
  if (spec.chooser == Chooser::user) fields.add("Chooser", "whoever is logged in on the device");
  if (state.chosen) fields.add("Chosen", describe_choice_made(*state.chosen, now));
  if (state.choice_requested) {
    fields.add("Choice asked", describe_choice_made(*state.choice_requested, now) +
                                   "; the device has still to say whether it counts");
  }
  if (state.status == TaskStatus::awaiting_choice) {
    fields.add("Choose with", std::string(verbs) + " choose " + spec.id + " " + choice_names(spec));
  }
}

std::string outcome_text(const RunResult& result, const std::string& detail) {
  if (!result.present) return {};
  std::string text = result.success ? "success" : "failure";
  if (result.signal) text += ", ended by signal " + std::to_string(*result.signal);
  if (result.exit_code) text += ", exit code " + std::to_string(*result.exit_code);
  if (result.duration) text += ", took " + format_duration(*result.duration);
  if (!result.message.empty() && result.message != detail) text += "\n" + result.message;
  return text;
}

/// What a task is about, and its tags, in a line.
std::string summarize(const TaskSpec& spec) {
  std::string what = describe_work(spec);
  if (!spec.tags.empty()) what += (what.empty() ? "[" : " [") + join(spec.tags, ", ") + "]";
  return what;
}

/// Takes the result out of a task or run: it can hold megabytes of output, more than a result on the wire
/// may, so it is read by itself.
RunResult take_result(json& object) {
  if (!object.is_object()) return {};
  const auto found = object.find("result");
  if (found == object.end()) return {};
  RunResult result = read_result(*found);
  object.erase(found);
  return result;
}

}  // namespace

std::string render_stream(const std::string& title, const std::string& bytes, std::int64_t total,
                          std::string_view verbs) {
  if (bytes.empty()) return {};
  std::size_t begin = bytes.size() - (bytes.back() == '\n' ? 1 : 0);
  std::size_t lines = 0;
  while (begin > 0) {
    if (bytes[begin - 1] == '\n' && ++lines == kLinesShown) break;
    --begin;
  }
  std::string head = "\n" + title + " (" + format_bytes(std::max<std::int64_t>(total, 0));
  const std::string all = "; " + std::string(verbs) + " output ID prints all";
  if (begin > 0) {
    head += ", last " + std::to_string(kLinesShown) + " lines" + all;
  } else if (total > static_cast<std::int64_t>(bytes.size())) {
    head += ", not all of it" + all + " that is kept";
  }
  std::string body = printable_lines(std::string_view(bytes).substr(begin));
  if (body.back() != '\n') body += '\n';
  return head + "):\n" + body;
}

Result<TaskView> read_task(const json& value) {
  json rest = value;
  RunResult result = take_result(rest);
  // Before an enrolment the device's tasks belong to no node, which the codec of the wire would refuse.
  if (text_of(rest, "nodeId").empty() && rest.is_object()) rest.erase("nodeId");
  auto task = task_from_json(rest);
  if (!task) return with_context(task.error(), "the answer is not a task");
  TaskView view{std::move(*task), std::move(result), {}, text_of(value, "batchId")};
  if (const auto requested = value.find("requested"); requested != value.end() && requested->is_array()) {
    for (const auto& what : *requested) {
      if (what.is_string()) view.requested.push_back(what.get<std::string>());
    }
  }
  return view;
}

Result<RunView> read_run(const json& value) {
  json rest = value;
  RunResult result = take_result(rest);
  auto run = run_from_json(rest);
  if (!run) return with_context(run.error(), "the answer is not a run");
  return RunView{std::move(*run), std::move(result)};
}

std::string describe_status(const Task& task) {
  std::string text(to_string(task.state.status));
  if (!task.state.reason.empty()) text += " (" + task.state.reason + ")";
  if (task.state.paused && task.state.reason != reason::kPaused && !has_ended(task.state.status)) {
    text += ", paused";
  }
  if (task.state.cancel_requested_at && !has_ended(task.state.status)) text += ", cancelling";
  if (task.state.deleted_at) text += ", deleted";
  return text;
}

std::string describe_work(const TaskSpec& spec) {
  if (!spec.description.empty()) return spec.description;
  const auto data = parse_json(spec.data);
  if (!data || !data->is_object()) return {};
  if (spec.type == "command") {
    if (std::string line = text_of(*data, "cmd"); !line.empty()) return line;
    std::vector<std::string> words;
    if (const json* argv = member_of(*data, "argv"); argv != nullptr && argv->is_array()) {
      for (const json& word : *argv) {
        if (word.is_string()) words.push_back(word.get<std::string>());
      }
    }
    return join(words, " ");
  }
  if (spec.type == "service") {
    std::string call = text_of(*data, "service") + " " + text_of(*data, "method");
    const json* arguments = member_of(*data, "arguments");
    return arguments == nullptr || arguments->empty() ? call : call + " " + encode_json(*arguments);
  }
  if (spec.type == "echo") {
    if (std::string message = text_of(*data, "message"); !message.empty()) return message;
  }
  return data->empty() ? std::string() : encode_json(*data);
}

std::string render_tasks(const std::vector<TaskView>& tasks, const Screen& screen, bool show_node,
                         UnixMilliseconds now) {
  std::vector<Column> columns{{"ID"}, {"TYPE", true}, {"STATUS"}, {"ADDED"}, {"RUNS", false, true}};
  if (show_node) columns.insert(columns.begin() + 1, Column{"NODE", true});
  const auto next_run = [](const TaskView& view) {
    return has_ended(view.task.state.status) ? std::optional<UnixMilliseconds>()
                                             : view.task.state.next_run_at;
  };
  const bool says_when = std::any_of(tasks.begin(), tasks.end(),
                                     [&](const TaskView& view) { return next_run(view).has_value(); });
  if (says_when) columns.push_back({"NEXT"});
  // A list without data may have nothing to say in this column.
  const bool says_what = std::any_of(tasks.begin(), tasks.end(),
                                     [](const TaskView& view) { return !summarize(view.task.spec).empty(); });
  if (says_what) columns.push_back({"WHAT", true});
  Table table(std::move(columns));
  // A narrow terminal shows the end of each id, which every verb takes for it.
  const bool narrow = screen.width() != 0 && screen.width() < kWide;
  for (const TaskView& view : tasks) {
    const Task& task = view.task;
    const std::string& id = task.spec.id;
    std::vector<Cell> row{narrow && id.size() > kIdEnd ? id.substr(id.size() - kIdEnd) : id,
                          task.spec.type,
                          {describe_status(task), color_of(task.state.status)},
                          format_age(now - task.state.add_time),
                          std::to_string(task.state.run_count)};
    if (show_node) row.insert(row.begin() + 1, Cell(task.spec.node_id));
    if (says_when) {
      const auto time = next_run(view);
      row.emplace_back(!time         ? std::string()
                       : *time > now ? "in " + format_duration((*time - now + 999) / 1000 * 1000)
                                     : std::string("now"));
    }
    if (says_what) row.emplace_back(summarize(task.spec));
    table.add(std::move(row));
  }
  return table.render(screen);
}

std::string render_questions(const std::vector<TaskView>& tasks, UnixMilliseconds now,
                             std::string_view verbs) {
  std::string text;
  for (const TaskView& view : tasks) {
    const TaskSpec& spec = view.task.spec;
    text += (text.empty() ? "" : "\n") + spec.id + "  " + printable(spec.type);
    if (const std::string what = summarize(spec); !what.empty()) text += "  " + printable(what);
    text += "\n";
    const std::string answers = describe_choices(spec);
    for (std::size_t begin = 0; begin < answers.size();) {
      const std::size_t end = std::min(answers.find('\n', begin), answers.size());
      text += "  " + answers.substr(begin, end - begin) + "\n";
      begin = end + 1;
    }
    if (spec.choice_expires_at && !spec.schedule.recurs()) {
      text += "  until " + format_time(*spec.choice_expires_at, now) +
              (spec.default_choice.empty() ? "; then it fails as expired"
                                           : "; then " + printable(spec.default_choice)) +
              "\n";
    }
    if (const auto& asked = view.task.state.choice_requested) {
      text += "  " + printable(describe_choice_made(*asked, now)) +
              "; the device has still to say whether it counts\n";
    }
    text += "  " + std::string(verbs) + " choose " + spec.id + " " + printable(choice_names(spec)) + "\n";
  }
  return text;
}

std::string render_task(const TaskView& view, UnixMilliseconds now, std::string_view verbs) {
  const TaskSpec& spec = view.task.spec;
  const TaskState& state = view.task.state;
  const bool is_command = spec.type == "command";
  Fields fields;
  fields.add("Task", spec.id);
  fields.add("Node", spec.node_id);
  fields.add("Batch", view.batch_id);
  fields.add("Type", spec.type);
  fields.add("Status", describe_status(view.task));
  fields.add("Detail", state.detail);
  fields.add("Description", spec.description);
  fields.add("Tags", join(spec.tags, ", "));
  fields.add("Room", spec.room_id);
  fields.add("World", spec.world_id);
  fields.add("Data", spec.data == "{}" ? "" : bounded(spec.data));
  fields.add("Metadata", spec.metadata == "{}" ? "" : bounded(spec.metadata));
  fields.add("Options", describe_options(spec.options));
  fields.add("Expires", when(spec.options.expires_at, now));
  add_schedule(fields, view.task, now, verbs);
  fields.add("Added", format_time(state.add_time, now));
  fields.add("Sent", when(state.sent_time, now));
  fields.add("Started", when(state.start_time, now));
  fields.add("Ended", when(state.end_time, now));
  fields.add("Cancel asked", when(state.cancel_requested_at, now));
  if (!view.requested.empty()) {
    fields.add("Asked for", join(view.requested, ", ") + "; the device has not taken it yet");
  }
  fields.add("Runs", std::to_string(state.run_count));
  fields.add("Result", outcome_text(view.result, state.detail));
  if (!is_command) fields.add("Output", bounded(view.result.data));
  if (!view.result.survivors.empty()) {
    fields.add("Left over", "processes that could not be stopped: " + join(view.result.survivors, ", "));
  }
  std::string page = fields.render();
  if (is_command) {
    const auto add_stream = [&](const char* title, const std::string& bytes, const auto& total) {
      page += render_stream(title, bytes, total.value_or(static_cast<std::int64_t>(bytes.size())), verbs);
    };
    add_stream("Standard output", view.result.standard_output, view.result.stdout_bytes);
    add_stream("Standard error", view.result.standard_error, view.result.stderr_bytes);
    if (view.result.truncated) page += "\nParts of the output were dropped; --max-output keeps more.\n";
  }
  return page;
}

namespace {

/// `-` where nobody says how much there was.
std::string bytes_or_dash(const std::optional<std::int64_t>& bytes) {
  return bytes ? format_bytes(*bytes) : std::string("-");
}

}  // namespace

std::string render_runs(const std::vector<RunView>& runs, const Screen& screen, UnixMilliseconds now) {
  const bool recurs =
      std::any_of(runs.begin(), runs.end(), [](const RunView& view) { return view.run.occurrence != 0; });
  const bool asked =
      std::any_of(runs.begin(), runs.end(), [](const RunView& view) { return !view.run.option.empty(); });
  std::vector<Column> columns{{"RUN", false, true}};
  if (recurs) columns.push_back({"OCCURRENCE", false, true});
  if (asked) columns.push_back({"CHOSEN", true});
  for (const Column& column : std::initializer_list<Column>{{"STATUS"},
                                                            {"STARTED"},
                                                            {"TOOK", false, true},
                                                            {"OUTCOME"},
                                                            {"STDOUT", false, true},
                                                            {"STDERR", false, true},
                                                            {"MESSAGE", true}}) {
    columns.push_back(column);
  }
  Table table(std::move(columns));
  for (const RunView& view : runs) {
    const Run& run = view.run;
    std::string status(to_string(run.status));
    if (!run.reason.empty()) status += " (" + run.reason + ")";
    std::vector<Cell> row{std::to_string(run.number)};
    if (recurs) row.emplace_back(run.occurrence == 0 ? "extra" : std::to_string(run.occurrence));
    if (asked) row.emplace_back(run.option);
    for (std::string text :
         {status, format_time(run.start_time), format_duration(run.end_time.value_or(now) - run.start_time),
          outcome_of(view.result), bytes_or_dash(view.result.stdout_bytes),
          bytes_or_dash(view.result.stderr_bytes), view.result.message}) {
      row.emplace_back(std::move(text));
    }
    table.add(std::move(row));
  }
  return table.render(screen);
}

}  // namespace agenttask::console

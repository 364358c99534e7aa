#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "platform/base/ids.hpp"
#include "platform/protocol/message.hpp"

namespace agenttask::server::test {

/// The device's half of the protocol at its smallest, as the model has it: an inbox, an outbox, two cursors.
/// What it holds is durable but `running`. It runs one task at a time.
class ReferenceDevice {
 public:
  struct Entry {
    TaskSpec spec;
    TaskState state;
    std::vector<Run> runs;
    std::set<std::string> requests = {};  ///< to run, that were answered
  };

  explicit ReferenceDevice(std::string node) : node_id(std::move(node)) {}

  [[nodiscard]] PollRequest poll() const {
    PollRequest request;
    request.protocol = protocol_version();
    request.version = "0.1.0";
    request.platform = "linux-x86_64";
    request.name = "alpha";
    request.epoch = epoch;
    request.directives = directives;
    request.reports = acknowledged;
    request.incarnation = incarnation;
    request.predecessors = predecessors;
    return request;
  }

  /// False: the answer did not meet the cursor and was dropped.
  bool take(const PollAnswer& answer) {
    if (answer.resync) return resync(answer.epoch);
    if (answer.epoch != epoch || !answer.after || answer.after->sequence > directives.sequence) return false;
    Cursor cursor = *answer.after;
    bool met = cursor == directives;
    for (const auto& line : answer.lines) {
      const auto directive = decode_directive(line).value();
      if (directive.sequence != cursor.sequence + 1) return false;
      cursor = agenttask::advance(cursor, line);
      if (cursor == directives) met = true;
      if (cursor.sequence <= directives.sequence) continue;
      if (!met) return false;
      apply(directive);
      directives = cursor;
      met = true;
    }
    return met;
  }

  [[nodiscard]] ReportBatch post() const {
    ReportBatch batch;
    batch.protocol = protocol_version();
    batch.epoch = epoch;
    batch.incarnation = incarnation;
    batch.after = acknowledged;
    batch.lines = out;
    return batch;
  }
  void take(const ReportAnswer& answer) {
    if (answer.resync) {
      resync(answer.epoch);
      return;
    }
    if (answer.epoch != epoch) return;
    while (!out.empty() && acknowledged.sequence < answer.reports.sequence) {
      acknowledged = agenttask::advance(acknowledged, out.front());
      out.erase(out.begin());
    }
  }

  void start(const std::string& id) {
    Entry& entry = inbox.at(id);
    entry.state.status = TaskStatus::running;
    entry.state.run_count++;
    entry.runs.push_back({id, entry.state.run_count, RunStatus::running, {}, 5, {}, {}});
    running = id;
    ++starts[id];
    report(StartedReport{id, entry.state.run_count, 5});
  }
  void finish(TaskStatus status, const std::string& why = {}, const std::string& output = {}) {
    Entry& entry = inbox.at(*running);
    Run& run = entry.runs.back();
    run.status = status == TaskStatus::complete    ? RunStatus::complete
                 : status == TaskStatus::cancelled ? RunStatus::cancelled
                                                   : RunStatus::failed;
    run.end_time = 6;
    run.reason = why;
    run.result = status == TaskStatus::complete ? R"({"data":{},"success":true})"
                                                : R"({"error":{"code":"x","message":"y"},"success":false})";
    if (!output.empty())
      report(OutputReport{*running, run.number, {OutputStream::standard_output, 0, output}});
    end(*running, status, why, run);
    running.reset();
  }
  /// What is not running yet ends.
  void end(const std::string& id, TaskStatus status, const std::string& why, std::optional<Run> run = {}) {
    Entry& entry = inbox.at(id);
    entry.state.status = status;
    entry.state.reason = why;
    entry.state.end_time = 6;
    if (run) entry.state.result = run->result;
    report(EndedReport{id, std::move(run), entry.state});
  }
  /// The first answer counts. False: it is not the first, or nothing is asked.
  bool choose(const std::string& id, const ChoiceMade& made) {
    const auto found = inbox.find(id);
    if (found == inbox.end() || found->second.state.status != TaskStatus::awaiting_choice) return false;
    found->second.state.status = TaskStatus::sent;
    found->second.state.chosen = made;
    ++answers[id];
    report(ChosenReport{id, found->second.state});
    return true;
  }
  void set_paused(const std::string& id, bool paused) {
    const auto found = inbox.find(id);
    if (found == inbox.end() || has_ended(found->second.state.status)) return;
    found->second.state.paused = paused;
    report(ChangedReport{{found->second.spec, found->second.state}});
  }
  /// A run besides the schedule, from its start to its end. False: it can't run now, or this request was
  /// answered before.
  bool run_once(const std::string& id, const std::string& request) {
    const auto found = inbox.find(id);
    if (found == inbox.end() || !found->second.requests.insert(request).second) return false;
    Entry& entry = found->second;
    if (entry.state.status != TaskStatus::sent) return false;
    ++extra_runs[id];
    const auto number = ++entry.state.run_count;
    report(StartedReport{id, number, 5});
    entry.runs.push_back({id, number, RunStatus::complete, {}, 5, 6, R"({"data":{},"success":true})"});
    report(EndedReport{id, entry.runs.back(), entry.state});
    return true;
  }

  /// The agent is killed and comes back.
  void kill() {
    if (running) finish(TaskStatus::failed, std::string(reason::kInterrupted));
  }

  /// The agent starts anew.
  void restart() {
    kill();
    predecessors.insert(predecessors.begin(), incarnation);
    incarnation = make_uuid(5);
  }
  /// It saw an answer: the starts before need not be named again.
  void acknowledged_incarnation() { predecessors.clear(); }

  void report(decltype(Report::body) body) {
    Report message{++reported, std::move(body)};
    out.push_back(encode(message));
  }

  std::string node_id;
  std::string incarnation = make_uuid(5);
  std::vector<std::string> predecessors;  ///< newest first
  std::int64_t epoch = 0;
  Cursor directives;
  Cursor acknowledged;           ///< reports that the server has
  std::vector<std::string> out;  ///< lines after `acknowledged`
  std::int64_t reported = 0;
  std::map<std::string, Entry> inbox;
  std::optional<std::string> running;
  std::map<std::string, int> starts;
  std::map<std::string, int> answers;
  std::map<std::string, int> extra_runs;
  bool hold = false;

 private:
  bool resync(std::int64_t to) {
    if (to <= epoch) return false;
    epoch = to;
    directives = acknowledged = Cursor{};
    out.clear();
    reported = 0;
    for (const auto& [id, entry] : inbox) {
      Task held{entry.spec, entry.state};
      report(CreatedReport{held, entry.runs, true});
    }
    report(SnapshotEndReport{static_cast<std::int64_t>(inbox.size())});
    return true;
  }

  void apply(const Directive& directive) {
    if (const auto* task = std::get_if<TaskDirective>(&directive.body)) {
      if (inbox.contains(task->spec.id)) return;
      Entry& entry = inbox[task->spec.id];
      entry.spec = task->spec;
      entry.state.status = entry.spec.choices.empty() ? TaskStatus::sent : TaskStatus::awaiting_choice;
      entry.state.add_time = task->add_time;
      if (!entry.spec.choices.empty()) report(ChangedReport{{entry.spec, entry.state}});
    } else if (const auto* cancel = std::get_if<CancelDirective>(&directive.body)) {
      stop(cancel->task_id, false);
    } else if (const auto* remove = std::get_if<DeleteDirective>(&directive.body)) {
      stop(remove->task_id, true);
    } else if (const auto* update = std::get_if<UpdateDirective>(&directive.body)) {
      change(*update, directive.sequence);
    } else if (const auto* answer = std::get_if<ChooseDirective>(&directive.body)) {
      if (!asks(*answer) || !choose(answer->task_id, answer->made))
        report(RefusedReport{directive.sequence, answer->task_id, "already-chosen", "too late"});
    } else if (const auto* pause = std::get_if<PauseDirective>(&directive.body)) {
      set_paused(pause->task_id, true);
    } else if (const auto* resume = std::get_if<ResumeDirective>(&directive.body)) {
      set_paused(resume->task_id, false);
    } else if (const auto* run = std::get_if<RunDirective>(&directive.body)) {
      if (!run_once(run->task_id, run->request))
        report(RefusedReport{directive.sequence, run->task_id, "conflict", "answered before, or not now"});
    } else if (const auto* settings = std::get_if<SettingsDirective>(&directive.body)) {
      hold = settings->hold.value_or(hold);
    }
  }

  /// Whether the open question is the one that the answer is for.
  [[nodiscard]] bool asks(const ChooseDirective& answer) const {
    const auto found = inbox.find(answer.task_id);
    if (found == inbox.end()) return false;
    const TaskState& state = found->second.state;
    return answer.occurrence.value_or(state.occurrence) == state.occurrence &&
           answer.runs.value_or(state.run_count) == state.run_count;
  }

  void stop(const std::string& id, bool remove) {
    const bool known = inbox.contains(id);
    Entry& entry = inbox[id];
    if (!known) {
      entry.spec.id = id;
      entry.spec.node_id = node_id;
      entry.spec.type = "unknown";
    }
    const bool ended = known && has_ended(entry.state.status);
    if (remove) entry.state.deleted_at = 6;
    if (running == id) {
      finish(TaskStatus::cancelled);
    } else if (!ended) {
      end(id, TaskStatus::cancelled, "");
    } else if (remove) {
      report(ChangedReport{{entry.spec, entry.state}});
    }
  }

  void change(const UpdateDirective& update, std::int64_t sequence);
};

}  // namespace agenttask::server::test

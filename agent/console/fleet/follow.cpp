#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "agent/console/exit_code.hpp"
#include "agent/console/fleet/fleet.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/output_printer.hpp"
#include "agent/console/wait_notes.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kAskAgain{5};  ///< how often it is looked at why a silent task waits
constexpr std::chrono::seconds kPause{1};     ///< before the server is asked again after a failure
constexpr int kMostFailures = 10;             ///< in a row; then we leave it to the user

/// One task of the server being followed.
class FleetFollowing {
 public:
  FleetFollowing(const Fleet& fleet, const FleetFollow& wish)
      : fleet_(fleet),
        wish_(wish),
        printer_(fleet.console.screen),
        notes_(fleet.console.screen, !fleet.console.json, kFleetVerbs) {}

  int run() {
    fleet_.interrupts.set_leaves_at(2);
    fleet_.interrupts.set_farewell(farewell());
    int failures = 0;
    while (true) {
      const agent::Answer end = fleet_.api.follow(api_path({"tasks", wish_.id, "output"}), {{"follow", "1"}},
                                                  [&](std::string_view line) { return on_line(line); });
      if (nobody_reads_) return kNobodyReads;
      if (detached_) {
        fleet_.console.screen.say(farewell());
        return kInterrupted;
      }
      const agent::Answer answer = fleet_.api.call("GET", api_path({"tasks", wish_.id}));
      if (answer.ok()) {
        const auto view = task_of(answer);
        if (!view) return fleet_.console.fail(view.error());
        if (has_ended(view->task.state.status)) return conclude_with(*view, answer.json);
        notes_.state(view->task);
        failures = end.ok() ? 0 : failures + 1;
      } else if (answer.problem->status < 500 || ++failures >= kMostFailures) {
        return fleet_.console.fail(*answer.problem);
      } else if (failures == 1) {
        fleet_.console.screen.say(answer.problem->detail + "; trying again");
      }
      if (failures >= kMostFailures) return fleet_.console.fail(*end.problem);
      pause();
    }
  }

 private:
  [[nodiscard]] std::string farewell() const {
    return "left task " + wish_.id + " as it is; go on with: agenttask fleet output --follow " + wish_.id;
  }

  void pause() {
    const auto until = steady_clock::now() + kPause;
    while (steady_clock::now() < until && fleet_.interrupts.count() == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

  bool on_line(std::string_view text) {
    if (!text.empty()) {
      take(text);
      return !nobody_reads_;
    }
    notes_.tick();
    if (fleet_.interrupts.count() > 0) return on_interrupt();
    if (!spoke_ && steady_clock::now() - asked_ >= kAskAgain) ask_why();
    return true;
  }

  /// Silence: perhaps it waits for its device, and then we say so.
  void ask_why() {
    const agent::Answer answer = fleet_.api.call("GET", api_path({"tasks", wish_.id}));
    asked_ = steady_clock::now();
    if (!answer.ok()) return;
    if (const auto view = task_of(answer)) notes_.state(view->task);
  }

  bool on_interrupt() {
    if (!wish_.cancel) {
      detached_ = true;
      return false;
    }
    if (cancelled_here_) return true;
    cancelled_here_ = true;
    const agent::Answer answer = fleet_.api.call("POST", api_path({"tasks", wish_.id, "cancel"}));
    if (answer.ok()) {
      fleet_.interrupts.set_farewell(
          "task " + wish_.id + " was asked to stop; what became of it: agenttask fleet show " + wish_.id);
      fleet_.console.screen.say("cancelling task " + wish_.id + "; press Ctrl-C again to leave it");
    } else if (answer.problem->code != "already-ended") {
      fleet_.console.screen.say("cannot cancel: " + answer.problem->detail);
    }
    return true;
  }

  void take(std::string_view text) {
    const auto line = parse_json(text);
    if (!line || member_of(*line, "end") != nullptr) return;
    const auto chunk = chunk_from_json(*line);
    if (!chunk || !wish_.output || fleet_.console.json) return;
    spoke_ = true;
    notes_.silence();
    if (!printer_.print(integer_of(*line, "run").value_or(1), *chunk)) nobody_reads_ = true;
  }

  int conclude_with(const TaskView& view, const std::string& text) {
    const Conclusion conclusion = conclude(view, cancelled_here_);
    if (fleet_.console.json) {
      fleet_.console.print_json(text);
    } else if (!conclusion.message.empty()) {
      fleet_.console.screen.say(conclusion.message);
    }
    return conclusion.exit_code;
  }

  const Fleet& fleet_;
  const FleetFollow& wish_;
  OutputPrinter printer_;
  WaitNotes notes_;
  steady_clock::time_point asked_{};  ///< long ago: the first look comes at the first tick
  bool spoke_ = false;
  bool detached_ = false;
  bool cancelled_here_ = false;
  bool nobody_reads_ = false;
};

}  // namespace

int follow_fleet(const Fleet& fleet, const FleetFollow& wish) {
  return FleetFollowing(fleet, wish).run();
}

}  // namespace agenttask::console

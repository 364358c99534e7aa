#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "agent/console/exit_code.hpp"
#include "agent/console/fleet/batches.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/table.hpp"
#include "agent/console/text.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr const char* kLook = "1000";              ///< milliseconds of one wait: a Ctrl-C is heard after it
constexpr std::chrono::seconds kTellAgain{5};      ///< between two lines about how far it is
constexpr std::chrono::milliseconds kPause{1000};  ///< before the server is asked again after a failure
constexpr int kMostFailures = 10;                  ///< in a row; then we leave it to the user
constexpr std::size_t kShown = 20;                 ///< of those that are not complete

std::int64_t count_of(const json& batch, const char* status) {
  const json* counts = member_of(batch, "counts");
  return counts == nullptr ? 0 : integer_of(*counts, status).value_or(0);
}

/// One batch being waited for.
class BatchFollowing {
 public:
  BatchFollowing(const Fleet& fleet, const std::string& id, bool cancel)
      : fleet_(fleet), id_(id), cancel_(cancel) {}

  int run() {
    fleet_.interrupts.set_leaves_at(2);
    fleet_.interrupts.set_farewell(farewell());
    int failures = 0;
    while (true) {
      const agent::Answer answer =
          fleet_.api.call("GET", api_path({"batches", id_}), {{"wait", kLook}, {"limit", "1"}});
      if (answer.ok()) {
        failures = 0;
        const auto batch = parse_json(answer.json, limits::kJsonDepth + 16);
        if (!batch)
          return fleet_.console.fail(with_context(batch.error(), "cannot read the server's answer"));
        if (flag_of(*batch, "ended")) return conclude(*batch);
        tell(*batch);
      } else if (answer.problem->status < 500 || ++failures >= kMostFailures) {
        return fleet_.console.fail(*answer.problem);
      } else {
        if (failures == 1) fleet_.console.screen.say(answer.problem->detail + "; trying again");
        std::this_thread::sleep_for(kPause);
      }
      if (fleet_.interrupts.count() > 0 && !cancelled_here_) {
        if (!cancel_) {
          fleet_.console.screen.say(farewell());
          return kInterrupted;
        }
        cancel();
      }
    }
  }

 private:
  [[nodiscard]] std::string farewell() const {
    return "left batch " + id_ + " as it is; go on with: agenttask fleet batch show " + id_ + " --wait";
  }

  void cancel() {
    cancelled_here_ = true;
    const agent::Answer answer = fleet_.api.call("POST", api_path({"batches", id_, "cancel"}));
    if (answer.ok()) {
      fleet_.interrupts.set_farewell(
          "all of batch " + id_ + " was asked to stop; what became of it: agenttask fleet batch show " + id_);
      fleet_.console.screen.say("cancelling batch " + id_ + "; press Ctrl-C again to leave it");
    } else if (answer.problem->code != "already-ended") {
      fleet_.console.screen.say("cannot cancel: " + answer.problem->detail);
    }
  }

  /// How far it is, where that has changed.
  void tell(const json& batch) {
    if (fleet_.console.json) return;
    const std::string now = describe_counts(batch);
    if (now == told_ || steady_clock::now() - told_at_ < kTellAgain) return;
    fleet_.console.screen.say(now);
    told_ = now;
    told_at_ = steady_clock::now();
  }

  int conclude(const json& batch) {
    if (fleet_.console.json) {
      json shown = batch;
      for (const char* page : {"tasks", "nextCursor"}) shown.erase(page);
      fleet_.console.print_json(encode_json(shown));
    } else {
      fleet_.console.screen.print(describe_counts(batch) + "\n");
      for (const char* status : {"failed", "cancelled"}) show_some(batch, status);
    }
    if (count_of(batch, "complete") == integer_of(batch, "targets")) return kSuccess;
    return cancelled_here_ ? kInterrupted : kNotAllComplete;
  }

  /// The first of those that did not come to their good end.
  void show_some(const json& batch, const char* status) {
    const auto count = count_of(batch, status);
    if (count == 0 || (cancelled_here_ && std::string_view(status) == "cancelled")) return;
    const agent::Answer answer = fleet_.api.call("GET", api_path({"batches", id_}),
                                                 {{"status", status}, {"limit", std::to_string(kShown)}});
    auto page = answer.ok() ? parse_json(answer.json, limits::kJsonDepth + 16) : parse_json("{}");
    if (!page) return;
    put_node_names(fleet_.api, *page, "tasks");
    const json* tasks = member_of(*page, "tasks");
    if (tasks == nullptr || !tasks->is_array()) return;
    Table table({{"NODE", true}, {"STATUS"}, {"REASON"}, {"DETAIL", true}, {"TASK"}});
    for (const json& task : *tasks) {
      table.add({text_of(task, "nodeId"), text_of(task, "status"), text_of(task, "reason"),
                 text_of(task, "detail"), text_of(task, "id")});
    }
    if (!table.empty()) fleet_.console.screen.print(table.render(fleet_.console.screen));
    if (count > static_cast<std::int64_t>(tasks->size())) {
      fleet_.console.screen.say("all of them: agenttask fleet list --batch " + id_ + " --status " + status);
    }
  }

  const Fleet& fleet_;
  const std::string id_;
  const bool cancel_;
  std::string told_;
  steady_clock::time_point told_at_ = steady_clock::now();
  bool cancelled_here_ = false;
};

}  // namespace

std::string describe_counts(const json& batch) {
  std::string text;
  for (const char* status :
       {"complete", "failed", "cancelled", "running", "awaiting_choice", "sent", "pending"}) {
    const auto count = count_of(batch, status);
    if (count == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + status;
  }
  return text + " of " + std::to_string(integer_of(batch, "targets").value_or(0));
}

int follow_batch(const Fleet& fleet, const std::string& id, bool cancel) {
  return BatchFollowing(fleet, id, cancel).run();
}

}  // namespace agenttask::console

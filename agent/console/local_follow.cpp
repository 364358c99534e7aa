#include "agent/console/local_follow.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/output_printer.hpp"
#include "agent/console/wait_notes.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::console {
namespace {

using agent::ConsoleClient;
using nlohmann::json;

constexpr std::chrono::milliseconds kTick{100};  ///< how soon a Ctrl-C is noticed
constexpr const char* kNoAnswerYet =
    "left before the agent answered; whether it took the task: agenttask list";
constexpr int kMostTicks = 50;  ///< that a cancel waits for the id of what it shall cancel

/// One task being followed: takes its events one by one.
class Following {
 public:
  Following(const Console& console, Interrupts& interrupts, const FollowWish& wish)
      : console_(console),
        interrupts_(interrupts),
        wish_(wish),
        printer_(console.screen),
        notes_(console.screen, wish.progress && !console.json) {
    if (wish.on_interrupt == OnInterruptKey::cancel) interrupts.set_farewell(kNoAnswerYet);
  }

  ConsoleClient::Next on_event(std::string_view text) {
    if (!text.empty()) take(text);
    notes_.tick();
    if (end_.nobody_reads) {
      if (wish_.on_interrupt == OnInterruptKey::cancel) cancel();
      return ConsoleClient::Next::leave;
    }
    if (interrupts_.count() == 0) return ConsoleClient::Next::go_on;
    // Created perhaps, but not told yet: the id comes at once, and then it is cancelled.
    if (wish_.on_interrupt == OnInterruptKey::cancel && end_.id.empty() && ++ticks_without_id_ < kMostTicks) {
      return ConsoleClient::Next::go_on;
    }
    if (wish_.on_interrupt == OnInterruptKey::detach || end_.id.empty()) {
      if (end_.id.empty() && wish_.on_interrupt == OnInterruptKey::cancel) console_.screen.say(kNoAnswerYet);
      end_.detached = true;
      return ConsoleClient::Next::leave;
    }
    if (!end_.cancelled_here) cancel();
    return ConsoleClient::Next::go_on;
  }

  FollowEnd finish(const agent::Answer& answer) {
    if (end_.detached || end_.nobody_reads) return std::move(end_);
    end_.problem = answer.problem;
    if (!answer.ok()) return std::move(end_);
    end_.json = answer.json;
    const auto value = parse_json(answer.json, limits::kJsonDepth + 16);
    const json* run = value ? member_of(*value, "run") : nullptr;
    const json* task = run != nullptr ? member_of(*value, "task") : nullptr;
    if (task != nullptr) {
      auto one = read_run(*run);
      if (one) end_.run = std::move(*one);
    }
    auto view = !value ? Result<TaskView>(value.error()) : read_task(task != nullptr ? *task : *value);
    if (view) {
      end_.view = std::move(*view);
    } else {
      end_.problem = to_problem(view.error());
    }
    return std::move(end_);
  }

 private:
  void take(std::string_view text) {
    const auto event = parse_json(text, limits::kJsonDepth + 16);
    if (!event || !event->is_object()) return;
    const std::string kind =
        event->value("event", json("")).is_string() ? event->at("event").get<std::string>() : "";
    if (const auto task = event->find("task"); task != event->end()) take_task(*task);
    if (wish_.print_events && console_.json) {
      if (!console_.screen.print(std::string(text) + "\n")) end_.nobody_reads = true;
      return;
    }
    if (kind == "output" && wish_.print_output && !console_.json) take_output(*event);
  }

  void take_task(const json& value) {
    const auto view = read_task(value);
    if (!view) return;
    if (end_.id.empty()) {
      end_.id = view->task.spec.id;
      interrupts_.set_farewell("left task " + end_.id + " as it is; go on with: agenttask watch " + end_.id);
    }
    notes_.state(view->task);
  }

  void take_output(const json& event) {
    const auto chunk = chunk_from_json(event);
    const auto run = event.find("run");
    if (!chunk || run == event.end() || !run->is_number_integer()) return;
    notes_.silence();
    if (!printer_.print(run->get<std::int64_t>(), *chunk)) end_.nobody_reads = true;
  }

  void cancel() {
    end_.cancelled_here = true;
    // Over a connection of its own: this one is busy following. Asked before it is said, so that a second
    // Ctrl-C can't come between.
    const agent::Answer answer = ask(console_, "cancelTask", json{{"id", end_.id}});
    if (!answer.ok()) return console_.screen.say("cannot cancel: " + answer.problem->detail);
    interrupts_.set_farewell("task " + end_.id + " was asked to stop; what became of it: agenttask show " +
                             end_.id);
    if (!end_.nobody_reads) {
      console_.screen.say("cancelling task " + end_.id + "; press Ctrl-C again to leave it");
    }
  }

  const Console& console_;
  Interrupts& interrupts_;
  const FollowWish& wish_;
  OutputPrinter printer_;
  WaitNotes notes_;
  int ticks_without_id_ = 0;
  FollowEnd end_;
};

}  // namespace

FollowEnd follow_local(const Console& console, Interrupts& interrupts, const FollowWish& wish,
                       const json& arguments) {
  auto client = connect(console);
  if (!client) {
    FollowEnd end;
    end.problem = to_problem(client.error());
    return end;
  }
  if (interrupts.count() > 0) {  // before anything was asked for
    FollowEnd end;
    end.detached = true;
    return end;
  }
  Following following(console, interrupts, wish);
  const agent::Answer answer =
      client->follow(wish.call, encode_json(arguments), kTick,
                     [&](std::string_view event) { return following.on_event(event); });
  return following.finish(answer);
}

int finish_follow(const Console& console, const FollowEnd& end) {
  if (end.nobody_reads) return kNobodyReads;
  if (end.detached) {
    if (!end.id.empty()) {
      console.screen.say("left task " + end.id + " as it is; go on with: agenttask watch " + end.id);
    }
    return kInterrupted;
  }
  if (end.problem) {
    const int code = console.fail(*end.problem);
    if (!end.id.empty() && !console.json) {
      console.screen.say("task " + end.id + " stays with the agent; see: agenttask show " + end.id);
    }
    return code;
  }
  const Conclusion conclusion =
      end.run ? conclude_run(*end.run, end.view->task) : conclude(*end.view, end.cancelled_here);
  if (!conclusion.message.empty() && !console.json) console.screen.say(conclusion.message);
  return conclusion.exit_code;
}

}  // namespace agenttask::console

// The calls that steer tasks: choices, pause, resume, extra runs; and the messages of rooms.
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console_api/call_arguments.hpp"
#include "agent/console_api/console_calls.hpp"
#include "agent/console_api/limits.hpp"
#include "agent/ledger/ledger.hpp"
#include "agent/runner/runner.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/problem.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;

constexpr std::size_t kShortestEnd = 4;  ///< of an id
constexpr std::size_t kPage = 100;       ///< tasks looked at once for those that somebody may see
constexpr std::chrono::milliseconds kFollowTick{500};
constexpr std::size_t kNewMessages = 1000;  ///< that one look finds; more at once leave a gap

bool is_for_choosers(const TaskSpec& spec) {
  return !spec.choices.empty() && spec.chooser == Chooser::user;
}

/// What may be seen of it without the right to view: nothing that a run or a worker wrote.
Task without_output(Task task) {
  task.spec.data = "{}";
  task.state.result.clear();
  if (task.state.status != TaskStatus::awaiting_choice) task.state.detail.clear();
  return task;
}

Error unknown_to_chooser(std::string_view text) {
  return {ErrorCode::not_found,
          "no task " + std::string(text) + " waits for your choice; agenttask list shows those that do",
          "id"};
}

/// The problem of an answer that came too late or to nothing, with who was first where somebody was.
Problem choice_problem(const Error& error, const Task& task) {
  Problem problem = to_problem(error);
  if (error.code != ErrorCode::conflict) return problem;
  if (task.state.chosen) {
    problem.code = "already-chosen";
    problem.extra = encode_json(json{{"chosen", choice_made_to_json(*task.state.chosen)}});
  } else {
    problem.code = has_ended(task.state.status) ? "already-ended" : "not-asked";
  }
  return problem;
}

/// Wakes who follows the messages when the ledger changed.
class ChangeSignal {
 public:
  explicit ChangeSignal(Ledger& ledger)
      : subscription_(ledger.subscribe([this](const LedgerChange&) {
          const std::scoped_lock lock(mutex_);
          changed_ = true;
          condition_.notify_all();
        })) {}
  void wait(std::chrono::milliseconds at_most, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    condition_.wait_for(lock, stop, at_most, [this] { return changed_; });
    changed_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any condition_;
  bool changed_ = false;
  std::shared_ptr<void> subscription_;  ///< last: it calls what is above
};

}  // namespace

Result<Task> ConsoleCalls::task_for_chooser(std::string_view text) const {
  // A whole id costs one look; the ends of all ids, and @last, are not theirs to search.
  if (auto task = ledger_.get(text); task && is_for_choosers(task->spec)) {
    return without_output(std::move(*task));
  }
  if (text.size() < kShortestEnd) return unknown_to_chooser(text);
  // The end of an id that is unique among what they see, whatever else there is.
  TaskFilter filter;
  filter.status = TaskStatus::awaiting_choice;
  std::optional<Task> found;
  std::optional<std::int64_t> cursor;
  do {
    auto page = ledger_.list(filter, cursor, kPage);
    if (!page) return page.error();
    for (Task& task : page->tasks) {
      if (!is_for_choosers(task.spec) || !task.spec.id.ends_with(text)) continue;
      if (found) {
        return Error{ErrorCode::conflict,
                     std::string(text) + " is the end of several: " + found->spec.id + ", " + task.spec.id,
                     "id"};
      }
      found = std::move(task);
    }
    cursor = page->next_cursor;
  } while (cursor);
  if (!found) return unknown_to_chooser(text);
  return without_output(std::move(*found));
}

Result<std::string> ConsoleCalls::tasks_for_chooser(const TaskFilter& wanted,
                                                    std::optional<std::int64_t> cursor,
                                                    std::size_t most) const {
  TaskFilter filter = wanted;
  if (filter.status.value_or(TaskStatus::awaiting_choice) != TaskStatus::awaiting_choice) {
    return Error{ErrorCode::denied, "you see the tasks that wait for your choice, and no others", "status"};
  }
  filter.status = TaskStatus::awaiting_choice;
  filter.deleted = false;
  json tasks = json::array();
  while (tasks.size() < most) {
    // No more than there is room for, so that the cursor stands behind the last that is shown.
    const auto page = ledger_.list(filter, cursor, std::min(kPage, most - tasks.size()));
    if (!page) return page.error();
    for (const Task& task : page->tasks) {
      if (is_for_choosers(task.spec)) {
        tasks.push_back(task_to_json(without_output(task), Detail::summary));
      }
    }
    cursor = page->next_cursor;
    if (!cursor) break;
  }
  json answer{{"tasks", std::move(tasks)}, {"onlyChoices", true}};
  answer["nextCursor"] = cursor ? json(std::to_string(*cursor)) : json();
  return encode_json(answer);
}

Result<std::string> ConsoleCalls::choose_task(const json& arguments, const Caller& caller) const {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("id");
  reader.require("option");
  const std::string text = reader.text("id", kIdBytes, 1).value_or("");
  const std::string option = reader.text("option", limits::kChoiceNameBytes, 1).value_or("");
  if (auto error = reader.finish()) return *error;
  const Right right = right_of(caller.peer, settings_);
  std::string id;
  if (right == Right::choose) {
    const auto task = task_for_chooser(text);
    if (!task) return task.error();
    id = task->spec.id;
  } else {
    const auto known = ledger_.resolve(text);
    if (!known) return known.error();
    id = *known;
    const auto task = ledger_.get(id);
    if (!task) return task.error();
    if (right != Right::run && !is_for_choosers(task->spec)) {
      return denied(caller.peer, Right::run, settings_);
    }
  }
  const auto chosen = ledger_.choose(id, option, chooser_of(caller.peer));
  if (chosen) {
    if (right == Right::run) return encode_json(task_to_json(*chosen, Detail::full));
    return encode_json(task_to_json(without_output(*chosen), Detail::summary));
  }
  const auto task = ledger_.get(id);
  if (!task) return chosen.error();
  const auto sent = caller.send(R"({"problem":)" + encode(choice_problem(chosen.error(), *task)) + "}");
  if (!sent) return sent.error();
  return std::string();  // answered
}

Result<std::string> ConsoleCalls::pause_task(const json& arguments, const Caller&) const {
  const auto argument = read_id(arguments);
  if (!argument) return argument.error();
  const auto id = ledger_.resolve(argument->id);
  if (!id) return id.error();
  const auto task = ledger_.pause(*id);
  if (!task) return task.error();
  return encode_json(task_to_json(*task, Detail::full));
}

Result<std::string> ConsoleCalls::resume_task(const json& arguments, const Caller&) const {
  const auto argument = read_id(arguments);
  if (!argument) return argument.error();
  const auto id = ledger_.resolve(argument->id);
  if (!id) return id.error();
  const auto task = ledger_.resume(*id);
  if (!task) return task.error();
  return encode_json(task_to_json(*task, Detail::full));
}

Result<std::string> ConsoleCalls::run_task(const json& arguments, const Caller& caller) const {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("id");
  const std::string text = reader.text("id", kIdBytes, 1).value_or("");
  const bool follows = reader.boolean("follow").value_or(false);
  Following what{reader.boolean("output").value_or(true), 0, true};
  if (auto error = reader.finish()) return *error;
  const auto id = ledger_.resolve(text);
  if (!id) return id.error();
  const auto before = ledger_.get(*id);
  if (!before) return before.error();
  what.after = before->state.run_count;
  const auto task = ledger_.run_now(*id);
  if (!task) return task.error();
  if (!follows) return encode_json(task_to_json(*task, Detail::full));
  return follow(*id, what, caller);
}

Result<std::string> ConsoleCalls::create_message(const json& arguments, const Caller&) const {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  reader.require("roomId");
  reader.require("content");
  RoomMessage message;
  message.room_id = reader.text("roomId", limits::kRoomBytes, 1).value_or("");
  message.world_id = reader.text("worldId", limits::kRoomBytes, 1).value_or("");
  const json* content = reader.object("content");
  if (content != nullptr) message.content = encode_json(*content);
  if (message.content.size() > limits::kMessageBytes) {
    reader.refuse("content",
                  "has " + std::to_string(message.content.size()) + " bytes; at most " +
                      std::to_string(limits::kMessageBytes) + " are allowed",
                  ErrorCode::limit);
  }
  for (const auto& [name, text] :
       {std::pair("roomId", &message.room_id), std::pair("worldId", &message.world_id)}) {
    const bool has_control = std::any_of(text->begin(), text->end(), [](char character) {
      return static_cast<unsigned char>(character) < 0x20 || character == 0x7F;
    });
    if (has_control) reader.refuse(name, "must not contain control characters");
  }
  if (auto error = reader.finish()) return *error;
  const auto posted = ledger_.post(std::move(message));
  if (!posted) return posted.error();
  return encode_json(room_message_to_json(*posted));
}

Result<std::string> ConsoleCalls::get_messages(const json& arguments, const Caller& caller) const {
  ObjectReader reader(arguments, ObjectReader::Unknown::refuse);
  const RoomFilter wanted{reader.text("roomId", limits::kRoomBytes, 1).value_or(""),
                          reader.text("worldId", limits::kRoomBytes, 1).value_or("")};
  const auto most =
      static_cast<std::size_t>(reader.integer("limit", 1, static_cast<std::int64_t>(limits::kPageMost))
                                   .value_or(static_cast<std::int64_t>(limits::kPageDefault)));
  const bool follows = reader.boolean("follow").value_or(false);
  if (auto error = reader.finish()) return *error;
  if (follows) return follow_messages(wanted, most, caller);
  const auto messages = ledger_.messages(wanted.room, most, wanted.world);
  if (!messages) return messages.error();
  json list = json::array();
  for (const RoomMessage& message : *messages) list.push_back(room_message_to_json(message));
  return encode_json(json{{"messages", std::move(list)}});
}

Result<std::string> ConsoleCalls::follow_messages(const RoomFilter& wanted, std::size_t most,
                                                  const Caller& caller) const {
  ChangeSignal signal(ledger_);
  std::optional<std::string> last;  ///< id of the message told last; none: the first look
  while (true) {
    const auto newest = ledger_.messages(wanted.room, 1, wanted.world);
    if (!newest) return newest.error();
    if (!newest->empty() && newest->back().id != last.value_or("")) {
      const auto messages = ledger_.messages(wanted.room, last ? kNewMessages : most, wanted.world);
      if (!messages) return messages.error();
      auto next = std::find_if(messages->begin(), messages->end(),
                               [&](const RoomMessage& one) { return one.id == last.value_or(""); });
      next = next == messages->end() ? messages->begin() : std::next(next);
      for (; next != messages->end(); ++next) {
        json event{{"event", "message"}, {"message", room_message_to_json(*next)}};
        if (const auto sent = caller.send(encode_json(event)); !sent) return sent.error();
        last = next->id;
      }
    }
    if (!last) last = "";
    if (caller.stop.stop_requested()) return Error{ErrorCode::unavailable, "the agent is stopping"};
    if (caller.gone()) return Error{ErrorCode::unavailable, "nobody follows any more"};
    signal.wait(kFollowTick, caller.stop);
  }
}

}  // namespace agenttask::agent

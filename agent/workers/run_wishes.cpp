#include "agent/workers/run_wishes.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::agent {
namespace {

constexpr std::size_t kPage = 100;  ///< tasks that a list reads at once

std::size_t size_of(const TaskSpec& spec) {
  std::size_t bytes =
      RunWishes::kOverhead + spec.data.size() + spec.metadata.size() + spec.description.size();
  for (const auto& tag : spec.tags) bytes += tag.size();
  for (const auto& choice : spec.choices) bytes += choice.name.size() + choice.description.size();
  return bytes;
}

/// As the ledger will put it when the run has ended.
void place(Task& task, UnixMilliseconds now) {
  const auto due = task.spec.schedule.scheduled_for;
  task.state.next_run_at.reset();
  task.state.reason.clear();
  task.state.status = task.spec.choices.empty() ? TaskStatus::sent : TaskStatus::awaiting_choice;
  if (!due || *due <= now) return;
  task.state.status = TaskStatus::sent;
  task.state.next_run_at = due;
  task.state.reason = reason::kNotDue;
}

bool matches(const Task& task, const TaskFilter& filter) {
  const TaskSpec& spec = task.spec;
  return !task.state.deleted_at && (filter.type.empty() || spec.type == filter.type) &&
         (!filter.status || task.state.status == *filter.status) &&
         (filter.room_id.empty() || spec.room_id == filter.room_id) &&
         (filter.world_id.empty() || spec.world_id == filter.world_id) &&
         std::all_of(filter.tags.begin(), filter.tags.end(), [&](const std::string& tag) {
           return std::find(spec.tags.begin(), spec.tags.end(), tag) != spec.tags.end();
         });
}

/// `patch` after `earlier`, as one: for metadata, where null takes a key away.
std::string merged_patch(const std::optional<std::string>& earlier, const std::string& patch) {
  auto merged = parse_json(earlier.value_or("{}"));
  const auto later = parse_json(patch);
  if (!merged || !later) return patch;
  for (const auto& [key, value] : later->items()) (*merged)[key] = value;
  return encode_json(*merged);
}

/// `later` after what was asked before.
void add_changes(TaskChanges& changes, const TaskChanges& later) {
  if (later.description) changes.description = later.description;
  if (later.tags) changes.tags = later.tags;
  if (later.options) changes.options = later.options;
  if (later.schedule) changes.schedule = later.schedule;
  if (later.metadata) changes.metadata = merged_patch(changes.metadata, *later.metadata);
}

/// As lists give it.
Task summary_of(Task task) {
  task.spec.data = "{}";
  task.state.result.clear();
  return task;
}

Result<void> check_place_name(std::string_view name, const std::string& text) {
  const auto refuse = [&](std::string why, ErrorCode code) {
    return Error{code, std::string(name) + " " + std::move(why), std::string(name)};
  };
  if (text.size() > limits::kRoomBytes) {
    return refuse("has more than " + std::to_string(limits::kRoomBytes) + " bytes", ErrorCode::limit);
  }
  const bool control = std::any_of(text.begin(), text.end(),
                                   [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (control) return refuse("must not contain control characters", ErrorCode::invalid);
  return {};
}

Error ended(const Task& task) {
  return Error{ErrorCode::conflict, "the task " + task.spec.id + " has ended (" +
                                        std::string(to_string(task.state.status)) +
                                        "); what ended never changes again"};
}

}  // namespace

RunWishes::RunWishes(TaskReader& reader, const Task& own, std::int64_t run, const Clock& clock)
    : reader_(reader), own_(own), run_(run), clock_(clock) {}

Result<void> RunWishes::make_room(std::size_t bytes) {
  if (wishes_.size() >= kMost) {
    return Error{ErrorCode::limit, "a run may ask for at most " + std::to_string(kMost) +
                                       " changes of tasks and messages, and this one has"};
  }
  if (bytes > kMostBytes - bytes_) {
    return Error{ErrorCode::limit, "what a run asks for may have at most " + std::to_string(kMostBytes) +
                                       " bytes in all; this would be more"};
  }
  bytes_ += bytes;
  return {};
}

void RunWishes::mark_deleted(Task& task, UnixMilliseconds now) const {
  task.state.deleted_at = now;
  if (task.state.status == TaskStatus::running) {
    // What becomes of it is known when it ends; of the run's own, when this run does.
    if (!is_own(task)) task.state.cancel_requested_at = now;
  } else if (!has_ended(task.state.status)) {
    task.state.status = TaskStatus::cancelled;
    task.state.end_time = now;
    task.state.next_run_at.reset();
    task.state.reason.clear();
    task.state.detail.clear();
  }
}

void RunWishes::lay_over(Task& task, const Changed& changed) const {
  // What ended meanwhile stays as it ended: the ledger will skip the updates, too.
  if (!has_ended(task.state.status)) {
    if (auto spec = apply_changes(task.spec, changed.changes)) task.spec = *std::move(spec);
    if (changed.rescheduled_at && task.state.status == TaskStatus::sent) place(task, *changed.rescheduled_at);
  }
  if (changed.deleted_at && !task.state.deleted_at) mark_deleted(task, *changed.deleted_at);
  task.state.updated_at = std::max(task.state.updated_at, changed.updated_at);
}

RunWishes::Changed& RunWishes::change(const Task& task) {
  const auto [entry, is_new] = changed_.try_emplace(task.spec.id);
  if (is_new) {
    entry->second.type = task.spec.type;
    entry->second.room_id = task.spec.room_id;
    entry->second.world_id = task.spec.world_id;
    entry->second.sent_time = task.state.sent_time;
  }
  return entry->second;
}

Result<Task> RunWishes::get(std::string_view id) {
  const std::string wanted = normalize_uuid(id);
  if (const auto made = created_.find(wanted); made != created_.end()) return made->second;
  auto task = reader_.get(wanted);
  if (!task) return task;
  if (const auto changed = changed_.find(wanted); changed != changed_.end()) lay_over(*task, changed->second);
  return task;
}

Result<Task> RunWishes::create(TaskSpec spec) {
  const UnixMilliseconds now = clock_.wall();
  spec.id = spec.id.empty() ? make_uuid(now) : normalize_uuid(spec.id);
  if (!is_uuid(spec.id)) return Error{ErrorCode::invalid, "the id of a task is a UUID", "id"};
  const auto taken = get(spec.id);
  if (taken) {
    return Error{ErrorCode::conflict, "the id " + spec.id + " belongs to another task; use another id", "id"};
  }
  if (taken.error().code != ErrorCode::not_found) return taken.error();
  if (auto room = make_room(size_of(spec)); !room) return room.error();
  spec.node_id = own_.spec.node_id;
  Task task;
  task.spec = std::move(spec);
  task.state.add_time = task.state.updated_at = now;
  task.state.sent_time = now;
  place(task, now);
  wishes_.emplace_back(CreateWish{task.spec});
  created_order_.push_back(task.spec.id);
  created_.insert_or_assign(task.spec.id, task);
  return task;
}

Result<Task> RunWishes::update(std::string_view id, std::string_view changes) {
  auto task = get(id);
  if (!task) return task.error();
  if (has_ended(task->state.status) || task->state.deleted_at) return ended(*task);
  const auto body = parse_json(changes);
  if (!body) return body.error();
  const auto parsed = parse_task_changes(*body, task->spec, task->state.add_time, clock_.wall());
  if (!parsed) return parsed.error();
  auto spec = apply_changes(task->spec, *parsed);
  if (!spec) return spec.error();
  if (auto room = make_room(kOverhead + changes.size()); !room) return room.error();
  const UnixMilliseconds now = clock_.wall();
  const bool rescheduled = parsed->schedule && *parsed->schedule != task->spec.schedule;
  task->spec = std::move(*spec);
  if (rescheduled && task->state.status == TaskStatus::sent) place(*task, now);
  task->state.updated_at = std::max(now, task->state.updated_at + 1);
  wishes_.emplace_back(UpdateWish{task->spec.id, std::string(changes)});
  if (const auto made = created_.find(task->spec.id); made != created_.end()) {
    made->second = *task;
    return task;
  }
  Changed& changed = change(*task);
  add_changes(changed.changes, *parsed);
  if (rescheduled) changed.rescheduled_at = now;
  changed.updated_at = task->state.updated_at;
  return task;
}

Result<Task> RunWishes::remove(std::string_view id) {
  auto task = get(id);
  if (!task) return task.error();
  if (task->state.deleted_at) return task;
  if (auto room = make_room(kOverhead); !room) return room.error();
  const UnixMilliseconds now = clock_.wall();
  mark_deleted(*task, now);
  task->state.updated_at = std::max(now, task->state.updated_at + 1);
  wishes_.emplace_back(DeleteWish{task->spec.id});
  if (const auto made = created_.find(task->spec.id); made != created_.end()) {
    made->second = *task;
    return task;
  }
  Changed& changed = change(*task);
  changed.deleted_at = now;
  changed.updated_at = task->state.updated_at;
  return task;
}

std::vector<const RunWishes::ChangedTasks::value_type*> RunWishes::changed_in(
    const TaskFilter& filter) const {
  std::vector<const ChangedTasks::value_type*> list;
  for (const auto& entry : changed_) {
    const Changed& task = entry.second;
    if ((filter.type.empty() || task.type == filter.type) &&
        (filter.room_id.empty() || task.room_id == filter.room_id) &&
        (filter.world_id.empty() || task.world_id == filter.world_id) && !task.deleted_at)
      list.push_back(&entry);
  }
  std::sort(list.begin(), list.end(), [](const auto* a, const auto* b) {
    return std::tie(a->second.sent_time, a->first) > std::tie(b->second.sent_time, b->first);
  });
  return list;
}

Result<std::vector<Task>> RunWishes::list(const TaskFilter& filter, std::size_t most) {
  most = std::clamp<std::size_t>(most, 1, limits::kPageMost);
  std::vector<Task> found;
  std::size_t bytes = 0;
  const auto is_full = [&] { return found.size() >= most || bytes > kListBytes; };
  const auto take = [&](Task task) {
    if (is_full()) return;
    found.push_back(summary_of(std::move(task)));
    bytes += size_of(found.back().spec);
  };
  for (auto id = created_order_.rbegin(); id != created_order_.rend() && !is_full(); ++id) {
    const Task& task = created_.find(*id)->second;
    if (matches(task, filter)) take(task);
  }
  // Those that this run changed may match now and not before, or the other way round: they stand where they
  // arrived.
  const auto changed = changed_in(filter);
  auto next = changed.begin();
  const auto take_changed = [&](const auto& stands_here) -> Result<void> {
    for (; next != changed.end() && !is_full() && stands_here((*next)->second); ++next) {
      auto task = get((*next)->first);
      if (!task && task.error().code != ErrorCode::not_found) return task.error();
      if (task && matches(*task, filter)) take(*std::move(task));
    }
    return {};
  };
  std::optional<std::int64_t> cursor;
  do {
    auto page = reader_.list(filter, cursor, std::min(most, kPage));
    if (!page) return page.error();
    for (Task& task : page->tasks) {
      const auto before = [&](const Changed& one) { return one.sent_time > task.state.sent_time; };
      if (auto taken = take_changed(before); !taken) return taken.error();
      if (!changed_.contains(task.spec.id)) take(std::move(task));
    }
    cursor = page->next_cursor;
  } while (cursor && !is_full());
  if (auto taken = take_changed([](const Changed&) { return true; }); !taken) return taken.error();
  return found;
}

Result<RoomMessage> RunWishes::post(std::string room_id, std::string world_id, std::string_view content) {
  if (auto checked = check_place_name("roomId", room_id); !checked) return checked.error();
  if (auto checked = check_place_name("worldId", world_id); !checked) return checked.error();
  const auto value = parse_json(content);
  if (!value) return with_context(value.error(), "content");
  if (!value->is_object()) return Error{ErrorCode::invalid, "content must be an object", "content"};
  RoomMessage message;
  message.content = encode_json(*value);
  if (message.content.size() > limits::kMessageBytes) {
    return Error{ErrorCode::limit,
                 "content has " + std::to_string(message.content.size()) + " bytes; at most " +
                     std::to_string(limits::kMessageBytes) + " are allowed",
                 "content"};
  }
  if (auto room = make_room(kOverhead + message.content.size()); !room) return room.error();
  message.time = clock_.wall();
  message.id = make_uuid(message.time);
  message.node_id = own_.spec.node_id;
  message.room_id = room_id.empty() ? own_.spec.room_id : std::move(room_id);
  message.world_id = world_id.empty() ? own_.spec.world_id : std::move(world_id);
  message.task_id = own_.spec.id;
  message.run = run_;
  posted_.push_back(message);
  wishes_.emplace_back(MessageWish{message});
  return message;
}

Result<std::vector<RoomMessage>> RunWishes::messages(std::string_view room_id, std::size_t most) {
  most = std::clamp<std::size_t>(most, 1, limits::kPageMost);
  auto found = reader_.messages(room_id, most);
  if (!found) return found;
  for (const RoomMessage& message : posted_) {
    if (room_id.empty() || message.room_id == room_id) found->push_back(message);
  }
  if (found->size() > most) {
    found->erase(found->begin(), found->end() - static_cast<std::ptrdiff_t>(most));
  }
  return found;
}

std::vector<Wish> RunWishes::take() {
  return std::exchange(wishes_, {});
}

}  // namespace agenttask::agent

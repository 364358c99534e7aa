#pragma once
#include <string>
#include <string_view>

#include "server/store/store.hpp"

/// What streams, tasks and housekeeping share when they change a task. Inside server/store only.
namespace agenttask::server {

/// Wakes who waits for the task or follows its output.
void touch_task(WriteStore& store, const std::string& task_id);

/// Stores state and flags; `updatedAt` always moves on.
void save_state(WriteStore& store, TaskRecord& record, UnixMilliseconds now);

/// Ends a task that was never offered, or whose device is no more.
void end_alone(WriteStore& store, TaskRecord& record, TaskStatus status, std::string_view why,
               std::string detail, UnixMilliseconds now);

/// Ends as `failed`, `interrupted` what the device may have started and can't account for, runs included. A
/// snapshot of the right ledger may correct it.
void end_interrupted(WriteStore& store, TaskRecord& record, std::string detail, UnixMilliseconds now);

/// An operator's answer is no longer on its way: the device has said what holds.
void settle_choice(TaskRecord& record);

}  // namespace agenttask::server

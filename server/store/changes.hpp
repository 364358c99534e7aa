#pragma once
#include <string>
#include <string_view>

#include "platform/base/log.hpp"
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

/// Says in the log, once it is on disk, that a new epoch begins after the node's present one, and why: a
/// literal. `device_epoch`: the one that the device spoke of.
void log_new_epoch(WriteStore& store, Logger& logger, LogLevel level, std::string_view why,
                   const NodeRecord& node, std::int64_t device_epoch);

/// An operator's answer is no longer on its way: the device has said what holds.
void settle_choice(TaskRecord& record);

}  // namespace agenttask::server

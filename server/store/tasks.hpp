#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "platform/base/error.hpp"
#include "platform/protocol/task_request.hpp"
#include "server/store/store.hpp"

/// What an operator may do to a task. The server decides alone only about what was never offered to the
/// device; otherwise it asks, and the device's reports say what came of it. Failures of the storage are the
/// caller's to check (store.hpp).
namespace agenttask::server {

enum class TaskAnswer : std::uint8_t {
  done,   ///< it is so now
  asked,  ///< the device has to say
  ended,  ///< too late: the task has ended, and nothing changed
};

struct TaskOutcome {
  TaskAnswer answer = TaskAnswer::done;
  TaskRecord record;  ///< as it is now, with data
};

/// Stores a new task and queues its directive. The caller has checked that its id is free. Writes the default
/// expiry, unless it recurs.
[[nodiscard]] TaskRecord create_task(WriteStore& store, TaskSpec spec, std::string digest,
                                     std::string created_by, UnixMilliseconds now);

/// Asks the device, unless a cancel or a delete is on its way to it. One that it took before is asked again:
/// its ledger may have been put back since.
[[nodiscard]] TaskOutcome cancel_task(WriteStore& store, TaskRecord record, UnixMilliseconds now);
[[nodiscard]] bool cancel_is_on_its_way(const ReadStore& store, const TaskRecord& record);

/// Cancels what has not ended and marks it deleted; readable until retention. An ended task is marked at
/// once.
[[nodiscard]] TaskOutcome delete_task(WriteStore& store, TaskRecord record, UnixMilliseconds now);

/// What an operator's answer to a task's question meets, as far as the server knows.
enum class ChoiceAnswer : std::uint8_t {
  open,         ///< it may be asked of the device
  ended,        ///< the task has ended
  no_choices,   ///< the task asks nothing, ever
  not_offered,  ///< none of its choices has this name
  taken,        ///< another answer was first: `winner_of`
  not_asking,   ///< the question is not open now
};
[[nodiscard]] ChoiceAnswer examine_choice(const TaskRecord& record, std::string_view option,
                                          UnixMilliseconds now);
/// The answer that was first: the device's word, or that of an operator, which the device has to confirm.
[[nodiscard]] std::optional<ChoiceMade> winner_of(const TaskRecord& record);
/// Asks the device to take an answer that is `open`.
[[nodiscard]] TaskOutcome choose_task(WriteStore& store, TaskRecord record, std::string option,
                                      std::string by, UnixMilliseconds now);

/// Asks the device to pause, resume or run it now (`kind`). What was asked already and not taken is not asked
/// again; a pause and a resume that were not offered take each other's place.
[[nodiscard]] TaskOutcome steer_task(WriteStore& store, TaskRecord record, DirectiveKind kind,
                                     UnixMilliseconds now);

/// `changes` were parsed from `body` (JSON text of the request) against the record's spec. `limit`: the
/// merged metadata would be too large.
[[nodiscard]] Result<TaskOutcome> update_task(WriteStore& store, TaskRecord record,
                                              const TaskChanges& changes, std::string body,
                                              UnixMilliseconds now);

/// Asks a device to start nothing new, or to go on. False: it is so already.
[[nodiscard]] bool set_hold(WriteStore& store, NodeRecord& node, bool hold);

/// Whether a request is the one that made this task. A task whose original request is not known (it came back
/// from a device after a restore) is compared by its spec.
[[nodiscard]] bool same_request(const TaskRecord& record, const TaskSpec& request);

}  // namespace agenttask::server

#pragma once
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "platform/protocol/task_json.hpp"
#include "server/store/store.hpp"

/// One task for many devices. The commit that accepts a batch has its whole list of targets in it: from then
/// on each of them gets its task, whatever happens to the server. The tasks themselves are made in parts,
/// each in a commit of its own, so that nobody else who writes waits for long; most batches have but one,
/// which the first commit makes. A cancel is carried out alike. What is left is carried on after a start
/// (batch_carrier.hpp).
///
/// A task of a batch is as any other, but that its spec and data stand once, with the batch. Failures of the
/// storage are the caller's to check (store.hpp).
namespace agenttask::server {

constexpr std::size_t kBatchPart = 1000;       ///< tasks that are made in one commit
constexpr std::size_t kBatchCancelPart = 200;  ///< tasks that are cancelled in one commit

/// Stores a batch for `nodes`, which are in order and known, at least one, and makes its first tasks. Of
/// `record`: id (free), spec, target, digest and created_by. Writes the default expiry, unless it recurs.
[[nodiscard]] BatchRecord create_batch(WriteStore& store, BatchRecord record,
                                       const std::vector<std::string>& nodes, UnixMilliseconds now);

/// Cancels what has not ended, as `cancel_task` does each: some of it at once, the rest is carried on.
void cancel_batch(WriteStore& store, BatchRecord& record, UnixMilliseconds now);

/// Makes the next tasks of a batch, or cancels the next. Whether more is left. Touches the batch when nothing
/// is.
[[nodiscard]] bool carry_on_batch(WriteStore& store, std::int64_t sequence, UnixMilliseconds now);

/// Whether it has targets without a task, or a cancel that is not carried out yet.
[[nodiscard]] bool is_carried_on(const BatchRecord& record);

/// After tasks were purged: removes a batch that has none any more, and leaves a tombstone.
void purge_batch(WriteStore& store, std::int64_t sequence, UnixMilliseconds now);

/// How many of its targets have a task in this status, or will have: one that is not made yet is pending.
[[nodiscard]] std::int64_t count_of(const BatchRecord& record, TaskStatus status);
/// Whether all its targets have a task that has ended.
[[nodiscard]] bool is_over(const BatchRecord& record);

/// As operators see it. `full`: with the data that each task gets.
[[nodiscard]] nlohmann::json batch_to_json(const BatchRecord& record, Detail detail);

}  // namespace agenttask::server

#include "server/store/batches.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_request.hpp"
#include "server/store/changes.hpp"
#include "server/store/commit_points.hpp"
#include "server/store/tasks.hpp"

namespace agenttask::server {
namespace {

using nlohmann::json;

constexpr std::array kStatuses{TaskStatus::pending,  TaskStatus::sent,     TaskStatus::awaiting_choice,
                               TaskStatus::running,  TaskStatus::complete, TaskStatus::failed,
                               TaskStatus::cancelled};
static_assert(kStatuses.size() == kTaskStatuses);

/// Of the time in the UUID of a node, milliseconds that go round after 12 days; 0 where it is none.
std::uint64_t node_time(const std::string& node_id) {
  constexpr std::size_t kDigits = 12;
  std::string digits = node_id.substr(0, kDigits + 1);
  std::erase(digits, '-');
  const auto bytes = hex_decode(digits);
  std::uint64_t time = 0;
  if (!bytes) return time;
  for (const char c : *bytes) time = time << 8U | static_cast<unsigned char>(c);
  return time & ((1U << 30U) - 1);
}

/// A UUID (version 8: made our own way) that is the same whenever it is made for this node and batch: a
/// server that was put back from a backup, and is asked again or was in the middle, makes no second task for
/// anybody. For nodes in order the ids are in order, too, as far as that goes: such are far cheaper to store
/// than random ones. Nobody guesses one without the seed.
std::string task_id(const std::string& seed, const std::string& prefix, const std::string& batch_id,
                    const std::string& node_id) {
  const auto order = node_time(node_id);
  std::string bytes = sha256(seed + "/" + batch_id + "/" + node_id).substr(0, 16);
  bytes.replace(0, prefix.size(), prefix);
  bytes[6] = static_cast<char>(0x80U | (order >> 26U & 0x0FU));  // version 8
  bytes[7] = static_cast<char>(order >> 18U);
  bytes[8] = static_cast<char>(0x80U | (order >> 12U & 0x3FU));  // RFC 9562 variant
  bytes[9] = static_cast<char>(order >> 4U);
  bytes[10] = static_cast<char>((order & 0x0FU) << 4U | (static_cast<unsigned char>(bytes[10]) & 0x0FU));
  std::string text = hex_encode(bytes);
  for (const std::size_t dash : {8U, 13U, 18U, 23U}) text.insert(dash, 1, '-');
  return text;
}

std::vector<BatchTask> tasks_for(const ReadStore& store, const BatchRecord& batch, const BatchPart& part) {
  const std::string seed = store.batch_seed();
  const std::string prefix = sha256(seed + "/" + batch.id).substr(0, 6);
  std::vector<BatchTask> tasks;
  tasks.reserve(part.nodes.size());
  for (const auto& node : part.nodes) tasks.push_back({task_id(seed, prefix, batch.id, node), node});
  return tasks;
}

/// Ends a task that was made a moment ago and that nobody shall do.
void end_new(WriteStore& store, const std::string& id, bool is_revoked, UnixMilliseconds now) {
  auto record = store.task(id, WithData::no);
  if (!record || has_ended(record->task.state.status)) return;
  if (!is_revoked) {
    (void)cancel_task(store, std::move(*record), now);
  } else if (!record->offered) {
    end_alone(store, *record, TaskStatus::cancelled, "",
              "cancelled before it was sent to the device, as the node was revoked", now);
  }
}

void make_tasks(WriteStore& store, BatchRecord& batch, const BatchPart& part, UnixMilliseconds now) {
  const auto tasks = tasks_for(store, batch, part);
  store.insert_batch_tasks(batch, tasks);
  batch.made += static_cast<std::int64_t>(tasks.size());
  const auto gone = store.revoked_among(part.nodes);
  const std::set<std::string> revoked(gone.begin(), gone.end());
  for (const auto& task : tasks) {
    const bool is_revoked = revoked.contains(task.node_id);
    if (is_revoked || batch.cancel_requested_at) {
      end_new(store, task.id, is_revoked, now);
    } else {
      store.touch("node:" + task.node_id);
    }
  }
}

void cancel_next(WriteStore& store, BatchRecord& batch, UnixMilliseconds now) {
  const auto ids = store.open_tasks_of(batch, *batch.cancelled_up_to, kBatchCancelPart);
  for (const auto& id : ids) {
    auto record = store.task(id, WithData::no);
    if (!record) continue;
    batch.cancelled_up_to = record->sequence;
    (void)cancel_task(store, std::move(*record), now);
  }
  if (ids.size() < kBatchCancelPart) batch.cancelled_up_to.reset();
}

/// After something was carried on: whoever waits for all of it is woken when nothing is left.
void save(WriteStore& store, const BatchRecord& batch) {
  store.update_batch(batch);
  if (!is_carried_on(batch)) store.touch("batch:" + batch.id);
}

}  // namespace

BatchRecord create_batch(WriteStore& store, BatchRecord record, const std::vector<std::string>& nodes,
                         UnixMilliseconds now) {
  TaskSpec& spec = record.spec;
  if (!spec.options.expires_at) spec.options.expires_at = default_expiry(spec.schedule, now);
  record.add_time = now;
  record.targets = static_cast<std::int64_t>(nodes.size());
  record.sequence = store.insert_batch(record);
  for (std::size_t from = 0; from < nodes.size(); from += kBatchPart) {
    const auto begin = nodes.begin() + static_cast<std::ptrdiff_t>(from);
    const auto count = std::min(kBatchPart, nodes.size() - from);
    const BatchPart part{static_cast<std::int64_t>(from),
                         {begin, begin + static_cast<std::ptrdiff_t>(count)}};
    if (from == 0) {
      make_tasks(store, record, part, now);
    } else {
      store.insert_part(record.sequence, part);
    }
  }
  save(store, record);
  record.counts = store.batch_at(record.sequence).value_or(record).counts;
  return record;
}

void cancel_batch(WriteStore& store, BatchRecord& record, UnixMilliseconds now) {
  record.cancel_requested_at = now;
  if (!record.cancelled_up_to) record.cancelled_up_to = record.first_task - 1;
  cancel_next(store, record, now);
  save(store, record);
  record.counts = store.batch_at(record.sequence).value_or(record).counts;
}

bool carry_on_batch(WriteStore& store, std::int64_t sequence, UnixMilliseconds now) {
  auto batch = store.batch_at(sequence);
  if (!batch || !is_carried_on(*batch)) return false;
  if (batch->cancelled_up_to) {
    store.commits(commit_point::kBatchCancelled);
    cancel_next(store, *batch, now);
  } else {
    store.commits(commit_point::kBatchTasksMade);
    const auto part = store.next_part(sequence);
    if (!part) return false;  // a failure of the storage, or a damaged one
    make_tasks(store, *batch, *part, now);
    store.remove_part(sequence, part->number);
  }
  save(store, *batch);
  return is_carried_on(*batch);
}

bool is_carried_on(const BatchRecord& record) {
  return record.made < record.targets || record.cancelled_up_to;
}

void purge_batch(WriteStore& store, std::int64_t sequence, UnixMilliseconds now) {
  const auto batch = store.batch_at(sequence);
  if (!batch || batch->purged < batch->targets) return;
  store.insert_tombstone(
      {batch->id, "", batch->digest, encode_json(batch_to_json(*batch, Detail::summary)), now});
  store.remove_batch(sequence);
}

std::int64_t count_of(const BatchRecord& record, TaskStatus status) {
  const auto made = record.counts.at(static_cast<std::size_t>(status));
  return status == TaskStatus::pending ? made + record.targets - record.made : made;
}

bool is_over(const BatchRecord& record) {
  return std::all_of(kStatuses.begin(), kStatuses.end(),
                     [&](TaskStatus status) { return has_ended(status) || count_of(record, status) == 0; });
}

json batch_to_json(const BatchRecord& record, Detail detail) {
  json value = spec_to_json(record.spec);
  value.erase("nodeId");
  if (detail == Detail::summary) value.erase("data");
  value["id"] = record.id;
  if (auto target = parse_json(record.target)) value["target"] = std::move(*target);
  value["targets"] = record.targets;
  value["addTime"] = record.add_time;
  value["createdBy"] = record.created_by;
  json counts = json::object();
  for (const auto status : kStatuses) counts[std::string(to_string(status))] = count_of(record, status);
  value["counts"] = std::move(counts);
  value["ended"] = is_over(record);
  if (record.made < record.targets) value["preparing"] = record.targets - record.made;
  if (record.purged > 0) value["purged"] = record.purged;
  if (record.cancel_requested_at) value["cancelRequestedAt"] = *record.cancel_requested_at;
  return value;
}

}  // namespace agenttask::server

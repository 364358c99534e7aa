#include "agent/ledger/ledger.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "agent/ledger/clocks.hpp"
#include "agent/ledger/ledger_body.hpp"
#include "agent/ledger/occurrences.hpp"
#include "agent/ledger/schema.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_request.hpp"

namespace agenttask::agent {
namespace {

Error other_request(std::string_view id) {
  return Error{ErrorCode::conflict,
               "the id " + std::string(id) + " belongs to another task on this device; use another id", "id"};
}

constexpr std::string_view kOfServer =
    " AND node_id = ?1 AND sequence NOT IN (SELECT task FROM local_tasks) ORDER BY sequence";

/// How many of a server's tasks were left, and what became of them.
struct LeftTasks {
  std::int64_t cancelled = 0;
  std::int64_t running = 0;
};

/// What the server of `node` asked for starts no more, and what runs is not run again. `why` is said in their
/// details.
LeftTasks leave_tasks(LedgerWrite& write, const std::string& node, const std::string& why) {
  const auto tasks = [&](std::string_view which) {
    return load_tasks(write.database, std::string(which) + std::string(kOfServer), {node});
  };
  LeftTasks left;
  for (auto& row : tasks("WHERE queue IS NOT NULL")) {
    write.end_without_run(row, TaskStatus::cancelled, "", "cancelled before it started: " + why);
    ++left.cancelled;
  }
  for (auto& row : tasks("WHERE status = 'running'")) {
    row.task.spec.options.retry.reset();
    row.task.spec.options.on_interrupt = OnInterrupt::fail;
    row.task.spec.schedule.update_interval.reset();
    row.grid_due.reset();
    row.task.state.detail = "goes on, once: " + why;
    save_task(write.database, row);
    write.change.tasks.push_back(row.task.spec.id);
    ++left.running;
  }
  return left;
}

/// What waits for the server goes nowhere; the next one asks for a snapshot.
void leave_streams(LedgerWrite& write) {
  StreamRow& stream = write.stream;
  stream.epoch = 0;
  stream.directives = stream.reports = stream.acknowledged = Cursor{};
  stream.outbox_reports = stream.outbox_bytes = 0;
  for (const char* sql : {"DELETE FROM outbox", "DELETE FROM untold", "UPDATE tasks SET reported = 0",
                          "UPDATE runs SET reported = 0", "UPDATE messages SET reported = 0"})
    write.database.execute(sql);
}

/// It was between this ledger and a server that is not the device's any more.
void end_quarantine(LedgerWrite& write) {
  if (write.database.execute("DELETE FROM quarantine") > 0) write.change.hold = write.change.work = true;
}

}  // namespace

Result<std::unique_ptr<Ledger>> Ledger::open(const std::filesystem::path& file, const Clock& clock,
                                             LedgerOptions options) {
  auto body = std::make_unique<Body>(file, clock, std::move(options));
  if (auto opened = body->try_again(); !opened) return opened.error();
  return std::unique_ptr<Ledger>(new Ledger(std::move(body)));
}

std::unique_ptr<Ledger> Ledger::open_or_wait(const std::filesystem::path& file, const Clock& clock,
                                             LedgerOptions options) {
  auto body = std::make_unique<Body>(file, clock, std::move(options));
  (void)body->try_again();  // problem() says why not
  return std::unique_ptr<Ledger>(new Ledger(std::move(body)));
}

std::optional<LedgerProblem> Ledger::problem() const {
  return body_->problem();
}

void Ledger::release_memory() {
  body_->release_memory();
}

Result<void> Ledger::try_again() {
  return body_->try_again();
}

/// The first thing that is written: this start of the agent.
Result<void> Ledger::Body::begin() {
  return write(commit_point::kIncarnationBegun, [&](LedgerWrite& write) -> Result<void> {
    // It may be there: a commit that the disk did not confirm can be found when the file is opened again.
    write.database.execute("INSERT INTO incarnations (id, began) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
                           {incarnation_, write.now});
    // Workers may have come or gone since, and nothing runs: everything that is ready is looked at anew.
    write.database.execute("UPDATE tasks SET queue = 1 WHERE queue IN (2, 3)");
    resume_grids(write, resume_delays(write, options_.boot_id));
    wait_since_now(write);
    write.change.work = true;
    return {};
  });
}

Ledger::Ledger(std::unique_ptr<Body> body) : body_(std::move(body)) {}
Ledger::~Ledger() = default;

std::shared_ptr<void> Ledger::subscribe(Listener listener) {
  auto subscription = body_->subscribe(std::move(listener));
  auto* waiting_end = subscription.get();
  return {waiting_end, [subscription](LedgerSubscription*) {
            std::unique_lock lock(subscription->mutex);
            subscription->active = false;
            subscription->idle.wait(lock, [&] { return subscription->calls == 0; });
          }};
}

void Ledger::start_arrivals(Ready ready) {
  body_->set_ready(std::move(ready));
}

Result<Created> Ledger::create(TaskSpec spec) {
  return body_->write(commit_point::kTaskCreated, [&](LedgerWrite& write) -> Result<Created> {
    spec.id = spec.id.empty() ? make_uuid(write.now) : normalize_uuid(spec.id);
    if (!is_uuid(spec.id)) return Error{ErrorCode::invalid, "the id of a task is a UUID", "id"};
    const std::string digest = request_digest_of(spec);
    if (auto row = load_task(write.database, spec.id)) {
      if (load_digest(write.database, row->sequence) != digest) return other_request(spec.id);
      row->task.spec.data = load_data(write.database, row->sequence);
      return Created{std::move(row->task), true};
    }
    if (auto removed = load_remembered(write.database, spec.id)) {
      if (removed->digest != digest) return other_request(spec.id);
      removed->state.detail = "it ended, and what else was known of it was removed after its retention";
      return Created{{std::move(spec), std::move(removed->state)}, true};
    }
    TaskRow row;
    row.task.spec = std::move(spec);
    write.insert_local(row, digest);
    write.stream.last_created = row.task.spec.id;
    return Created{std::move(row.task), false};
  });
}

Result<Task> Ledger::update(std::string_view id, std::string_view changes) {
  return body_->write(commit_point::kTaskUpdated, [&](LedgerWrite& write) -> Result<Task> {
    auto row = load_task(write.database, normalize_uuid(id));
    if (!row) return unknown_task(id);
    if (auto applied = write.update(*row, changes); !applied) return applied.error();
    row->task.spec.data = load_data(write.database, row->sequence);
    return std::move(row->task);
  });
}

Result<Cancelled> Ledger::cancel(std::string_view id) {
  return body_->cancel(id, false);
}
Result<Cancelled> Ledger::remove(std::string_view id) {
  return body_->cancel(id, true);
}

Result<Cancelled> Ledger::Body::cancel(std::string_view id, bool deleted) {
  return write(deleted ? commit_point::kTaskDeleted : commit_point::kTaskCancelled,
               [&](LedgerWrite& write) -> Result<Cancelled> {
                 auto row = load_task(write.database, normalize_uuid(id));
                 if (!row) return unknown_task(id);
                 const bool stopping = write.cancel(*row, deleted);
                 row->task.spec.data = load_data(write.database, row->sequence);
                 return Cancelled{std::move(row->task), stopping};
               });
}

Result<Task> Ledger::Body::change_task(CommitPoint point, std::string_view id,
                                       const std::function<Result<void>(LedgerWrite&, TaskRow&)>& action) {
  return write(point, [&](LedgerWrite& write) -> Result<Task> {
    auto row = load_task(write.database, normalize_uuid(id));
    if (!row) return unknown_task(id);
    if (auto changed = change_row(write, *row, action); !changed) return changed.error();
    row->task.spec.data = load_data(write.database, row->sequence);
    return std::move(row->task);
  });
}

Result<Task> Ledger::pause(std::string_view id) {
  return body_->change_task(commit_point::kTaskPaused, id, agent::pause);
}
Result<Task> Ledger::resume(std::string_view id) {
  return body_->change_task(commit_point::kTaskResumed, id, agent::resume);
}
Result<Task> Ledger::run_now(std::string_view id) {
  return body_->change_task(commit_point::kRunRequested, id, agent::run_now);
}

Result<Task> Ledger::choose(std::string_view id, std::string_view option, std::string_view by) {
  return body_->write(commit_point::kChoiceMade, [&](LedgerWrite& write) -> Result<Task> {
    auto row = load_task(write.database, normalize_uuid(id));
    if (!row) return unknown_task(id);
    ChoiceMade made{std::string(option), std::string(by), write.now};
    if (auto chosen = agent::choose(write, *row, std::move(made), {}); !chosen) return chosen.error();
    row->task.spec.data = load_data(write.database, row->sequence);
    return std::move(row->task);
  });
}

Result<RoomMessage> Ledger::post(RoomMessage message) {
  return body_->write(commit_point::kMessagePosted, [&](LedgerWrite& write) -> Result<RoomMessage> {
    message.id = make_uuid(write.now);
    message.node_id = write.stream.node_id;
    message.time = write.now;
    write.post(message);
    return std::move(message);
  });
}

Result<HeldBy> Ledger::set_hold(bool hold) {
  return body_->write(commit_point::kHoldChanged, [&](LedgerWrite& write) -> Result<HeldBy> {
    const HeldBy before = write.stream.held_by;
    if (write.stream.hold() == hold) return before;
    write.stream.held_by = hold ? HeldBy::device : HeldBy::nobody;
    write.change.hold = write.change.work = true;
    return before;
  });
}

Result<AdoptedNode> Ledger::adopt_node(std::string_view node_id) {
  return body_->write(commit_point::kNodeAdopted, [&](LedgerWrite& write) -> Result<AdoptedNode> {
    StreamRow& stream = write.stream;
    AdoptedNode adopted;
    stream.alone = false;
    if (stream.node_id == node_id) return adopted;
    adopted.former_node = std::exchange(stream.node_id, std::string(node_id));
    if (!adopted.former_node.empty()) {
      // Another server or another identity: it knows nothing of us, and its first answer asks for a snapshot.
      adopted.unreported = stream.outbox_reports;
      leave_streams(write);
      const auto left = leave_tasks(write, adopted.former_node,
                                    "this device is another node now, and node " + adopted.former_node +
                                        ", for which it was, is gone and does not hear how it ends");
      adopted.cancelled = left.cancelled;
      adopted.running = left.running;
    }
    end_quarantine(write);
    // What the former one's server asked for stays its own, and the next server does not hear of it.
    write.database.execute("UPDATE tasks SET node_id = ?1 WHERE sequence IN (SELECT task FROM local_tasks)",
                           {node_id});
    write.database.execute(
        "UPDATE messages SET node_id = ?1 WHERE task_id NOT IN (SELECT id FROM tasks WHERE node_id <> ?1)",
        {node_id});
    return adopted;
  });
}

Result<void> Ledger::leave_server() {
  const auto left = body_->read([](storage::Database& database) -> Result<bool> {
    const StreamRow stream = load_stream(database);
    return load_quarantine(database).empty() && (stream.alone || stream.node_id.empty());
  });
  if (!left) return left.error();
  if (*left) return {};
  return body_->write(commit_point::kServerLeft, [](LedgerWrite& write) -> Result<void> {
    // Nothing of what goes on alone is for a server, and it must not fill the outbox.
    leave_streams(write);
    write.stream.alone = true;
    write.change.work = true;
    if (!load_quarantine(write.database).empty())
      (void)leave_tasks(write, write.stream.node_id,
                        "this device left its server while it was in quarantine there");
    end_quarantine(write);
    return {};
  });
}

}  // namespace agenttask::agent

#include <map>
#include <random>
#include <set>

#include "tests/unit/agent_ledger/ledger_fixture.hpp"

namespace agenttask::agent {
namespace {

/// The server's side of docs/protocol.md in its shortest form; a copy of it is a backup.
struct Server {
  struct Known {
    TaskStatus status = TaskStatus::pending;
    bool offered = false;
  };
  using Body = decltype(Directive::body);

  std::int64_t epoch = 1;
  Cursor offered;
  Cursor acknowledged;
  Cursor reports;
  std::vector<std::pair<Cursor, std::string>>
      log;  ///< offered and not acknowledged: the cursor after it, its line
  std::vector<Body> queue;
  std::map<std::string, Known> tasks;

  static Body task(const std::string& id) {
    TaskDirective directive{{}, 1};
    directive.spec.id = id;
    directive.spec.node_id = "node-1";
    directive.spec.type = "echo";
    return directive;
  }
  void enqueue(const std::string& id) {
    tasks[id] = {};
    queue.push_back(task(id));
  }
  void cancel(const std::string& id) {
    Known& known = tasks[id];
    if (has_ended(known.status)) return;
    if (known.offered) {
      queue.emplace_back(CancelDirective{id});
      return;
    }
    known.status = TaskStatus::cancelled;
    std::erase_if(queue, [&](const Body& body) {
      const auto* one = std::get_if<TaskDirective>(&body);
      return one != nullptr && one->spec.id == id;
    });
  }
  void open_epoch(std::int64_t past) {
    epoch = std::max(epoch, past) + 1;
    offered = acknowledged = reports = {};
    log.clear();
    queue.clear();
    for (auto& [id, known] : tasks) {
      known.offered = true;
      if (!has_ended(known.status)) queue.push_back(task(id));
      if (known.status == TaskStatus::cancelled) queue.emplace_back(CancelDirective{id});
    }
  }
  void offer() {
    for (Body& body : queue) {
      if (const auto* one = std::get_if<TaskDirective>(&body)) tasks[one->spec.id].offered = true;
      const std::string line = encode(Directive{offered.sequence + 1, std::move(body)});
      offered = agenttask::advance(offered, line);
      log.emplace_back(offered, line);
    }
    queue.clear();
  }
  [[nodiscard]] bool is_mine(const Cursor& cursor) const {
    if (cursor == acknowledged || cursor.sequence < acknowledged.sequence) return true;
    return std::any_of(log.begin(), log.end(), [&](const auto& one) { return one.first == cursor; });
  }
  PollAnswer poll(const PollCursors& device) {
    PollAnswer answer;
    answer.protocol = protocol_version();
    const bool behind = device.epoch < epoch;
    if (!behind &&
        (device.epoch > epoch || !is_mine(device.directives) || device.reports.sequence > reports.sequence)) {
      open_epoch(device.epoch);
    }
    answer.epoch = epoch;
    answer.resync = device.epoch < epoch;
    if (answer.resync || device.directives.sequence < acknowledged.sequence) return answer;
    for (const auto& [cursor, line] : log) {
      if (cursor.sequence > device.directives.sequence) continue;
      const auto directive = decode_directive(line);
      if (const auto* one = std::get_if<TaskDirective>(&directive->body)) {
        Known& known = tasks[one->spec.id];
        if (known.status == TaskStatus::pending) known.status = TaskStatus::sent;
      }
    }
    acknowledged = device.directives;
    std::erase_if(log, [&](const auto& one) { return one.first.sequence <= acknowledged.sequence; });
    offer();
    answer.after = acknowledged;
    for (const auto& [cursor, line] : log) answer.lines.push_back(line);
    return answer;
  }
  void hear(const std::string& id, TaskStatus status) {
    Known& known = tasks[id];
    // After a restore the device's truth stands; what it ended stays ended.
    if (has_ended(known.status) && (epoch == 1 || !has_ended(status))) return;
    known = {status, true};
  }
  ReportAnswer post(const ReportBatch& batch) {
    Cursor at = batch.after;
    if (batch.epoch > epoch || (batch.epoch == epoch && at.sequence > reports.sequence))
      open_epoch(batch.epoch);
    if (batch.epoch < epoch) return {epoch, true, {}};
    for (const auto& line : batch.lines) {
      const bool is_new = at.sequence == reports.sequence;
      if (is_new && at.chain != reports.chain) {
        open_epoch(batch.epoch);
        return {epoch, true, {}};
      }
      at = agenttask::advance(at, line);
      if (!is_new) continue;
      reports = at;
      const auto report = decode_report(line);
      if (const auto* ended = std::get_if<EndedReport>(&report->body))
        hear(ended->task_id, ended->state.status);
      if (const auto* started = std::get_if<StartedReport>(&report->body))
        hear(started->task_id, TaskStatus::running);
      if (const auto* created = std::get_if<CreatedReport>(&report->body)) {
        hear(created->task.spec.id, created->task.state.status);
      }
    }
    return {epoch, false, reports};
  }
};

/// The real ledger against that server, with lost, late and repeated messages, kills and a restored backup.
class LedgerFaults : public LedgerFixture {
 protected:
  void poll(bool lose) {
    const PollCursors cursors = *ledger_->poll_cursors();
    late_cursors_.push_back(cursors);
    const PollAnswer answer = server_.poll(cursors);
    late_polls_.push_back(answer);
    if (!lose) receive(answer);
  }
  void post(bool lose) {
    const auto batch = *ledger_->pending_reports(3, SIZE_MAX);
    if (batch.lines.empty()) return;
    late_posts_.push_back(batch);
    const ReportAnswer answer = server_.post(batch);
    if (lose) return;
    ASSERT_TRUE(ledger_->acknowledge(answer));
  }
  void start_one() {
    const auto ready = ready_ids();
    if (ready.empty()) return;
    const auto& id = ready[random() % ready.size()];
    EXPECT_EQ(1, ++starts_[id]) << "started twice: " << id;
    running_.insert(start(id).task.spec.id);
  }
  void end_one() {
    if (running_.empty()) return;
    const std::string id = *running_.begin();
    running_.erase(id);
    end(id, 1,
        get(id).state.cancel_requested_at ? RunOutcome{RunStatus::cancelled, "", "", "{}"} : success());
  }
  void kill() {
    reopen();
    for (const auto& run : *ledger_->open_runs()) end(run.task_id, run.number, failure(reason::kInterrupted));
    running_.clear();
  }
  std::string any_task() {
    auto at = server_.tasks.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(random() % server_.tasks.size()));
    return at->first;
  }
  void step() {
    switch (random() % 14) {
      case 0:
      case 1:
        server_.enqueue(id(++last_));
        break;
      case 2:
        if (!server_.tasks.empty()) server_.cancel(any_task());
        break;
      case 3:
      case 4:
        poll(false);
        break;
      case 5:
        poll(true);
        break;
      case 6:
        post(false);
        break;
      case 7:
        post(true);
        break;
      case 8:
        if (late_polls_.empty()) break;
        if (random() % 2 == 0)
          late_polls_.push_back(server_.poll(late_cursors_[random() % late_cursors_.size()]));
        receive(late_polls_[random() % late_polls_.size()]);
        break;
      case 9:
        if (!late_posts_.empty()) (void)server_.post(late_posts_[random() % late_posts_.size()]);
        break;
      case 10:
        start_one();
        break;
      case 11:
        end_one();
        break;
      case 12:
        if (random() % 3 == 0) kill();
        break;
      case 13:
        if (!backup_) {
          backup_ = server_;
        } else if (!restored_ && restores_) {
          server_ = *backup_;
          restored_ = true;
          // What was under way to the lost server is lost with it.
          late_posts_.clear();
        }
        break;
      default:
        break;
    }
  }
  void settle() {
    for (int round = 0; round < 40; ++round) {
      poll(false);
      post(false);
      start_one();
      end_one();
    }
    while (!running_.empty()) end_one();
    for (int round = 0; round < 100 && (!ready_ids().empty() || ledger_->status()->outbox_reports > 0);
         ++round) {
      start_one();
      end_one();
      poll(false);
      post(false);
    }
  }
  void check() {
    for (const auto& [task, known] : server_.tasks) {
      EXPECT_TRUE(has_ended(known.status)) << "never ends: " << task << " " << to_string(known.status);
      const auto mine = ledger_->get(task);
      if (mine) {
        EXPECT_EQ(mine->state.status, known.status) << task;
      } else {
        EXPECT_EQ(TaskStatus::cancelled, known.status) << "the device never had " << task;
      }
    }
    const auto all = ledger_->list({}, std::nullopt, 1000);
    for (const auto& task : all->tasks)
      EXPECT_TRUE(server_.tasks.contains(task.spec.id)) << "the server forgot a task";
  }
  void explore(unsigned seed, int steps) {
    random.seed(seed);
    for (int i = 0; i < steps; ++i) step();
    settle();
    check();
  }

  std::mt19937 random{1};
  Server server_;
  std::optional<Server> backup_;
  bool restores_ = false;
  bool restored_ = false;
  int last_ = 0;
  int most_tasks_ = 1000;
  std::map<std::string, int> starts_;
  std::set<std::string> running_;
  std::vector<PollCursors> late_cursors_;
  std::vector<PollAnswer> late_polls_;
  std::vector<ReportBatch> late_posts_;
};

TEST_F(LedgerFaults, AnEndThatOnlyTheLostServerHeardIsToldAgain) {
  ASSERT_TRUE(ledger_->adopt_node("node-1"));
  server_.enqueue(id(1));
  for (int i = 0; i < 3; ++i) poll(false);
  post(false);
  ASSERT_EQ(TaskStatus::sent, server_.tasks[id(1)].status);
  const Server backup = server_;
  start_one();
  end_one();
  post(false);
  ASSERT_EQ(0, ledger_->status()->outbox_reports);
  ASSERT_EQ(TaskStatus::complete, server_.tasks[id(1)].status);
  server_ = backup;
  poll(false);
  EXPECT_EQ(2, ledger_->poll_cursors()->epoch);
  settle();
  check();
}

TEST_F(LedgerFaults, ALateAnswerOfARestoredServerDoesNotSlipIn) {
  ASSERT_TRUE(ledger_->adopt_node("node-1"));
  poll(false);
  const Server backup = server_;
  const PollCursors early = *ledger_->poll_cursors();
  server_.enqueue(id(1));
  poll(false);
  server_ = backup;
  server_.enqueue(id(2));
  server_.enqueue(id(3));
  // A poll from before the loss reaches the restored server, which numbers other directives with the same
  // numbers.
  const auto received = receive(server_.poll(early));
  EXPECT_NE("", received.ignored);
  EXPECT_FALSE(ledger_->get(id(3)));
  poll(false);
  EXPECT_EQ(2, ledger_->poll_cursors()->epoch);
  settle();
  check();
  EXPECT_EQ(TaskStatus::complete, server_.tasks[id(1)].status) << "the device tells it";
}

class WithSeed : public LedgerFaults, public testing::WithParamInterface<unsigned> {};

TEST_P(WithSeed, LostLateAndRepeatedMessagesAndKills) {
  ASSERT_TRUE(ledger_->adopt_node("node-1"));
  explore(GetParam(), 120);
}

TEST_P(WithSeed, AndAServerRestoredFromItsBackup) {
  ASSERT_TRUE(ledger_->adopt_node("node-1"));
  restores_ = true;
  // With few tasks the streams are quiet after the restore, so that nothing else gives the lost time away.
  most_tasks_ = 2;
  explore(1000 + GetParam(), 70);
}

INSTANTIATE_TEST_SUITE_P(LedgerFaults, WithSeed, testing::Range(0U, 12U));

}  // namespace
}  // namespace agenttask::agent

#include <cstdlib>
#include <random>
#include <variant>

#include <gtest/gtest.h>

#include "server/store/housekeeping.hpp"
#include "tests/component/server_store/reference_device.hpp"
#include "tests/component/server_store/store_fixture.hpp"

// Random interleavings of the two streams over the real store, in step with tests/model: messages that are
// lost, late or repeated, an agent that is killed, a database that is put back. What must hold is what the
// model checks.
namespace agenttask::server::test {
namespace {

using Message = std::variant<PollRequest, PollAnswer, ReportBatch, ReportAnswer>;

class World : public Files {
 public:
  explicit World(unsigned seed, bool restores) : random_(seed), restores_allowed_(restores) {
    NodeRecord record;
    record.id = make_uuid(clock.wall());
    record.name = "alpha";
    write([&](WriteStore& store_) {
      store_.insert_node(record);
      return 0;
    });
    node = record.id;
    device.emplace(node);
  }

  void step() {
    clock.advance(std::chrono::milliseconds(1 + pick(20)));
    switch (pick(20)) {
      case 0:
        return enqueue();
      case 1:
        return cancel();
      case 2:
        return remove();
      case 3:
        return update();
      case 4:
      case 5:
        return send(device->poll());
      case 6:
      case 7:
        return post();
      case 8:
      case 9:
      case 10:
        return deliver();
      case 11:
        return lose_or_repeat();
      case 12:
        return start();
      case 13:
        return finish();
      case 14:
        return expire();
      case 15:
        return choose();
      case 16:
        return choose_here();
      case 17:
        return pause_or_resume();
      case 18:
        return run_now();
      default:
        return fault();
    }
  }

  void check_now() {
    for (const auto& [id, count] : device->starts)
      ASSERT_LE(count, 1) << "task " << id << " started " << count << " times";
    for (const auto& [id, count] : device->answers) ASSERT_LE(count, 1) << "answers to " << id;
    for (const auto& [id, count] : device->extra_runs)
      ASSERT_LE(count, runs_asked_[id]) << "task " << id << " ran more often than somebody asked";
    if (restored_) return;
    for (const auto& record : all()) {
      if (!record.decided_alone) continue;
      const auto held = device->inbox.find(record.task.spec.id);
      ASSERT_TRUE(held == device->inbox.end() || held->second.state.status == TaskStatus::cancelled)
          << "the server ended a task alone that the device has";
    }
  }

  /// No more faults: messages flow and the device works, until nothing changes.
  void settle() {
    net.clear();
    std::string before;
    for (int round = 0; round < 60; ++round) {
      clock.advance(std::chrono::milliseconds(1));
      send(device->poll());
      post();
      while (!net.empty()) deliver_at(0);
      if (device->running) device->finish(TaskStatus::complete);
      start();
      if (before == std::exchange(before, picture()) && !device->running) return;
    }
    ADD_FAILURE() << "the two never come to rest";
  }

  void check_settled() {
    for (const auto& [id, count] : device->starts) EXPECT_LE(count, 1) << "task " << id;
    std::map<std::string, TaskStatus> server;
    for (const auto& record : all()) {
      const std::string& id = record.task.spec.id;
      server[id] = record.task.state.status;
      const auto held = device->inbox.find(id);
      const TaskState& state = record.task.state;
      const bool goes_on = state.status == TaskStatus::awaiting_choice || record.task.spec.schedule.recurs();
      EXPECT_TRUE(has_ended(state.status) || goes_on) << id << " never ends: " << to_string(state.status);
      EXPECT_FALSE(state.choice_requested) << id << ": an answer is on its way for ever";
      EXPECT_TRUE(read([&](const ReadStore& store_) { return store_.requests_about(id); }).empty()) << id;
      if (held == device->inbox.end()) {
        EXPECT_TRUE(record.decided_alone)
            << id << " is " << to_string(record.task.state.status) << ", unknown to the device";
      } else {
        EXPECT_EQ(record.task.state.status, held->second.state.status) << id;
        EXPECT_EQ(record.task.state.run_count, held->second.state.run_count) << id;
        EXPECT_EQ(state.chosen, held->second.state.chosen) << id;
        EXPECT_EQ(state.paused, held->second.state.paused) << id;
      }
    }
    for (const auto& [id, entry] : device->inbox) {
      if (entry.spec.type == "unknown") continue;
      EXPECT_TRUE(server.contains(id)) << id << " is forgotten by the server";
    }
    const auto row = read([&](const ReadStore& store_) { return store_.node(node).value(); });
    EXPECT_FALSE(row.quarantined_at) << row.quarantine_reason;
    EXPECT_FALSE(row.ledger_lost);
  }

  std::string story;

 private:
  /// What both sides hold, to see whether anything still changes.
  std::string picture() {
    std::string text = std::to_string(device->epoch) + device->directives.chain + device->acknowledged.chain +
                       std::to_string(device->out.size());
    for (const auto& record : all()) text += to_string(record.task.state.status);
    return text;
  }
  int pick(int below) { return std::uniform_int_distribution<int>(0, below - 1)(random_); }
  void note(std::string_view what) { story += std::string(what) + " · "; }

  std::vector<TaskRecord> all() {
    // Deleted tasks too, which lists leave out.
    std::vector<TaskRecord> records;
    for (const auto& id : ids) {
      if (auto record = read([&](const ReadStore& store_) { return store_.task(id, WithData::no); })) {
        records.push_back(std::move(*record));
      }
    }
    return records;
  }
  std::optional<TaskRecord> any_task() {
    auto records = all();
    if (records.empty()) return std::nullopt;
    return records[static_cast<std::size_t>(pick(static_cast<int>(records.size())))];
  }

  void enqueue() {
    if (ids.size() >= 12) return;
    note("enqueue");
    TaskSpec spec;
    spec.id = make_uuid(clock.wall());
    spec.node_id = node;
    spec.type = "echo";
    if (pick(4) == 0) spec.options.expires_at = clock.wall() + 50;
    if (pick(3) == 0) spec.choices = {{"confirm", ""}, {"revise", ""}};
    if (spec.choices.empty() && pick(3) == 0) spec.schedule.update_interval = 3'600'000;
    write([&](WriteStore& store_) {
      (void)create_task(store_, spec, request_digest(spec), "tester", clock.wall());
      return 0;
    });
    ids.push_back(spec.id);
  }
  void cancel() {
    auto record = any_task();
    if (!record) return;
    note("cancel");
    write([&](WriteStore& store_) {
      (void)cancel_task(store_, *record, clock.wall());
      return 0;
    });
  }
  void remove() {
    auto record = any_task();
    if (!record) return;
    note("delete");
    write([&](WriteStore& store_) {
      (void)delete_task(store_, *record, clock.wall());
      return 0;
    });
  }
  void update() {
    auto record = any_task();
    if (!record) return;
    note("update");
    TaskChanges changes;
    changes.description = "changed";
    write([&](WriteStore& store_) {
      return update_task(store_, *record, changes, R"({"description":"changed"})", clock.wall()).has_value();
    });
  }
  void choose() {
    auto record = any_task();
    if (!record || examine_choice(*record, "confirm", clock.wall()) != ChoiceAnswer::open) return;
    note("choose");
    write([&](WriteStore& store_) {
      (void)choose_task(store_, *record, "confirm", "operator:x", clock.wall());
      return 0;
    });
  }
  void choose_here() {
    auto record = any_task();
    if (!record) return;
    if (device->choose(record->task.spec.id, {"revise", "user:y", clock.wall()}))
      note("choose on the device");
  }
  /// Of those that recur: the device never starts them by itself here.
  void pause_or_resume() { steer(pick(2) == 0 ? DirectiveKind::pause : DirectiveKind::resume); }
  void run_now() { steer(DirectiveKind::run); }
  void steer(DirectiveKind kind) {
    auto record = any_task();
    if (!record || !record->task.spec.schedule.recurs()) return;
    note(to_string(kind));
    if (kind == DirectiveKind::run) ++runs_asked_[record->task.spec.id];
    write([&](WriteStore& store_) {
      (void)steer_task(store_, *record, kind, clock.wall());
      return 0;
    });
  }
  void expire() {
    note("expire");
    write([&](WriteStore& store_) { return expire_tasks(store_, clock.wall(), 100); });
  }

  void send(Message message) {
    if (net.size() < 6) net.push_back(std::move(message));
  }
  void post() {
    if (!device->out.empty()) send(device->post());
  }
  void deliver() {
    if (!net.empty()) deliver_at(static_cast<std::size_t>(pick(static_cast<int>(net.size()))));
  }
  void deliver_at(std::size_t at) {
    Message message = std::move(net[at]);
    net.erase(net.begin() + static_cast<std::ptrdiff_t>(at));
    std::visit([this](const auto& body) { arrive(body); }, message);
  }
  void arrive(const PollRequest& request) {
    const auto row = read([&](const ReadStore& store_) { return store_.node(node).value(); });
    // Over the wire, so that the codecs take part.
    const auto wired = decode_poll_request(encode(request)).value();
    const auto need = read([&](const ReadStore& store_) { return examine_poll(store_, row, wired); });
    note(need == PollNeed::write ? "poll" : "poll-");
    PollAnswer answer;
    if (need == PollNeed::write) {
      answer = write([&](WriteStore& store_) { return apply_poll(store_, row, wired, clock.wall(), quiet); });
    } else {
      answer = read([&](const ReadStore& store_) { return answer_poll(store_, row, wired); });
    }
    if (answer.resync) note("resync");
    net.push_back(decode_poll_answer(encode(answer)).value());
  }
  void arrive(const ReportBatch& batch) {
    note("reports");
    const auto row = read([&](const ReadStore& store_) { return store_.node(node).value(); });
    const auto wired = decode_report_batch(encode(batch)).value();
    const auto answer = write(
        [&](WriteStore& store_) { return apply_reports(store_, row, wired, clock.wall(), quiet).value(); });
    net.push_back(decode_report_answer(encode(answer)).value());
  }
  void arrive(const PollAnswer& answer) {
    note("directives");
    device->take(answer);
    device->acknowledged_incarnation();
  }
  void arrive(const ReportAnswer& answer) {
    note("ack");
    device->take(answer);
  }
  void lose_or_repeat() {
    if (net.empty()) return;
    const auto at = static_cast<std::size_t>(pick(static_cast<int>(net.size())));
    if (pick(2) == 0) {
      note("repeat");
      send(net[at]);
    } else {
      note("lose");
      net.erase(net.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }

  void start() {
    if (device->running) return;
    for (auto& [id, entry] : device->inbox) {
      if (entry.state.status != TaskStatus::sent || entry.spec.schedule.recurs()) continue;
      note("start");
      return device->start(id);
    }
  }
  void finish() {
    if (!device->running) return;
    note("end");
    device->finish(pick(3) == 0 ? TaskStatus::failed : TaskStatus::complete, "", "output");
  }
  void fault() {
    const int which = pick(6);
    if (which == 0) {
      note("kill agent");
      device->restart();
      // Requests may still arrive; nobody is there any more for the answers.
      std::erase_if(net, [](const Message& message) {
        return std::holds_alternative<PollAnswer>(message) || std::holds_alternative<ReportAnswer>(message);
      });
    } else if (which == 1) {
      note("restart server");
      reopen();
    } else if (restores_allowed_ && which == 2 && !backed_up_) {
      note("back up");
      close();
      std::filesystem::copy_file(file(), folder.path() / "copy.db");
      open();
      backed_up_ = true;
    } else if (backed_up_ && !restored_ && which == 3) {
      note("restore");
      close();
      std::filesystem::copy_file(folder.path() / "copy.db", file(),
                                 std::filesystem::copy_options::overwrite_existing);
      open();
      net.clear();  // a restore takes longer than any message
      restored_ = true;
    }
  }

  std::mt19937 random_;
  bool restores_allowed_;
  std::map<std::string, int> runs_asked_;
  bool backed_up_ = false;
  bool restored_ = false;
  Logger quiet{LogLevel::error, LogFormat::text};
  std::string node;
  std::optional<ReferenceDevice> device;
  std::vector<Message> net;
  std::vector<std::string> ids;
};

void explore(unsigned seed, bool restores) {
  World world(seed, restores);
  try {
    for (int i = 0; i < 150 && !::testing::Test::HasFailure(); ++i) {
      world.step();
      world.check_now();
    }
    if (!::testing::Test::HasFailure()) {
      world.settle();
      world.check_settled();
    }
  } catch (const std::exception& fault) {
    ADD_FAILURE() << fault.what();
  }
  ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed << ": " << world.story;
}

/// How many stories; AGENTTASK_SEEDS asks for more by hand.
unsigned stories(unsigned usual) {
  const char* wanted = std::getenv("AGENTTASK_SEEDS");
  return wanted == nullptr ? usual : static_cast<unsigned>(std::stoul(wanted));
}

TEST(RandomStreams, LostLateAndRepeatedMessagesAndKills) {
  for (unsigned seed = 1; seed <= stories(20) && !HasFailure(); ++seed) explore(seed, false);
}

TEST(RandomStreams, RestoredDatabases) {
  for (unsigned seed = 1; seed <= stories(30) && !HasFailure(); ++seed) explore(10'000 + seed, true);
}

}  // namespace
}  // namespace agenttask::server::test

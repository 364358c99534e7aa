#include "server/store/housekeeping.hpp"
#include "tests/component/server_store/store_fixture.hpp"

// How long the server keeps things, whatever happens to the clocks.
namespace agenttask::server::test {
namespace {

constexpr DurationMilliseconds kTenYears = 3650 * limits::kDay;

/// A task that ended, and what the housekeeper makes of it.
class Retention : public StoreTest {
 protected:
  Retention() {
    writer = std::make_unique<Writer>(
        std::move(session), [](const auto&) {}, quiet);
    start();
    id = ended_task();
  }
  /// Housekeeping looks once, as it does when the server starts.
  void start() {
    housekeeper.reset();
    housekeeper = std::make_unique<Housekeeper>(*store, *writer, presence, clock, quiet, RetentionSettings{},
                                                bell, boot);
    housekeeper->tick();
  }
  /// The machine was off for so long, by a clock that is right.
  void reboot(DurationMilliseconds off) {
    clock.reboot(std::chrono::milliseconds(off), std::chrono::seconds(20));
    boot += "+";
    start();
  }
  void set_clock(DurationMilliseconds ahead) { clock.set_wall(clock.wall() + ahead); }
  /// So many days pass, and the housekeeper looks four times a day.
  void pass(int days) {
    for (int i = 0; i < days * 4; ++i) {
      clock.advance(std::chrono::hours(6));
      housekeeper->tick();
    }
  }
  /// The same for long times: it looks once a week.
  void pass_weeks(int weeks) {
    for (int i = 0; i < weeks; ++i) {
      clock.advance(std::chrono::hours(7 * 24));
      housekeeper->tick();
    }
  }
  void look_again() {
    clock.advance(std::chrono::minutes(10));
    housekeeper->tick();
  }
  template <class Function>
  void work(Function function) {
    ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
      function(writes);
      return {};
    }));
  }
  std::string ended_task() {
    std::string made;
    work([&](WriteStore& writes) {
      made = create_task(writes, spec(), "d", "tester", clock.wall()).task.spec.id;
      (void)cancel_task(writes, writes.task(made, WithData::yes).value(), clock.wall());
      writes.insert_idempotency({"op", made, "d", made, clock.wall()});
      writes.insert_orphan({node, made, "ended", "{}", clock.wall()});
      writes.insert_message({0, {made, node, "r", "", "", 0, "{}", clock.wall()}, node, ""});
    });
    return made;
  }
  bool is_there(const std::string& task) {
    return read([&](const ReadStore& reads) { return reads.task(task, WithData::no).has_value(); });
  }
  bool is_there() { return is_there(id); }
  bool is_remembered() {
    return read([&](const ReadStore& reads) { return reads.tombstone(id).has_value(); });
  }
  /// How many of the key, the orphan and the message of a task are there.
  int things_of(const std::string& task) {
    return read([&](const ReadStore& reads) {
      int count = reads.idempotency("op", task).has_value() ? 1 : 0;
      for (const auto& orphan : reads.orphans(node)) count += orphan.task_id == task ? 1 : 0;
      return count + (reads.message(node, task).has_value() ? 1 : 0);
    });
  }
  /// Everything that was made with `task`, and the task.
  bool all_is_there(const std::string& task) { return is_there(task) && things_of(task) == 3; }

  std::string id;
  std::string boot = "boot";
  Logger quiet{LogLevel::error, LogFormat::text};
  Presence presence{clock, quiet};
  Bell bell;
  std::unique_ptr<Writer> writer;
  std::unique_ptr<Housekeeper> housekeeper;
};

TEST_F(Retention, FollowsTheTimeThatPasses) {
  pass(30);
  EXPECT_TRUE(all_is_there(id));
  pass(1);
  EXPECT_FALSE(is_there());
  EXPECT_EQ(things_of(id), 0);
  pass(29);
  EXPECT_TRUE(is_remembered());
  pass(2);
  EXPECT_FALSE(is_remembered());
}

TEST_F(Retention, KeepsWhatWasRecordedWhileTheClockWasBack) {
  set_clock(-kTenYears);
  const auto unseen = ended_task();  // nobody looks at the clock meanwhile
  set_clock(kTenYears);
  start();
  look_again();
  EXPECT_TRUE(all_is_there(unseen));
  set_clock(-kTenYears);
  pass(2);
  const auto seen = ended_task();
  pass(2);
  EXPECT_TRUE(all_is_there(seen));
  set_clock(kTenYears);
  for (int restart = 0; restart < 3; ++restart) {
    start();
    look_again();
    EXPECT_TRUE(all_is_there(seen)) << restart;
  }
  pass(25);
  EXPECT_TRUE(all_is_there(unseen));
  EXPECT_TRUE(all_is_there(seen));
  pass(6);
  EXPECT_FALSE(is_there(unseen));
  EXPECT_FALSE(is_there(seen));
  EXPECT_EQ(things_of(seen), 0);
}

TEST_F(Retention, IsNotCutShortByAClockThatIsSetAhead) {
  pass(1);
  set_clock(kTenYears);
  pass(28);
  EXPECT_TRUE(all_is_there(id));
  const auto made_ahead = ended_task();
  start();
  look_again();
  set_clock(-kTenYears);
  start();
  EXPECT_TRUE(all_is_there(id));
  pass(2);
  EXPECT_FALSE(is_there()) << "a clock that was wrong does not prolong it either";
  set_clock(kTenYears);
  pass(27);
  EXPECT_TRUE(is_remembered());
  EXPECT_TRUE(is_there(made_ahead));
  pass(2);
  EXPECT_FALSE(is_there(made_ahead));
}

TEST_F(Retention, CountsTheTimeThatTheServerWasDownWhileTheMachineWasUp) {
  pass(25);
  clock.advance(std::chrono::milliseconds(6 * limits::kDay));
  start();
  EXPECT_FALSE(is_there());
}

TEST_F(Retention, BelievesADayOfAnAbsenceWithEachBoot) {
  look_again();
  for (int night = 0; night < 30; ++night) {
    clock.advance(std::chrono::hours(10));
    EXPECT_TRUE(is_there()) << night;
    reboot(14 * 3'600'000);
  }
  clock.advance(std::chrono::hours(1));
  housekeeper->tick();
  EXPECT_FALSE(is_there());
}

TEST_F(Retention, AMachineThatWasOffForAYearPurgesLateAndNotForEver) {
  pass(1);
  reboot(365 * limits::kDay);
  EXPECT_TRUE(all_is_there(id));
  pass(27);
  EXPECT_TRUE(all_is_there(id));
  pass(3);
  EXPECT_FALSE(is_there());
}

TEST_F(Retention, AClockThatIsSetAheadWhileTheMachineIsOffTakesADayAtMost) {
  look_again();
  reboot(kTenYears);
  pass(28);
  EXPECT_TRUE(all_is_there(id));
  // Set right, and ahead again: it shows nothing that it did not show before.
  for (int boots = 0; boots < 3; ++boots) {
    reboot(-kTenYears);
    reboot(kTenYears);
  }
  EXPECT_TRUE(all_is_there(id));
  pass(2);
  EXPECT_FALSE(is_there());
}

TEST_F(Retention, AMachineWithoutAClockOfItsOwnPurges) {
  UnixMilliseconds day = clock.wall();
  int boots = 0;
  for (; is_there() && boots < 100; ++boots) {
    day += limits::kDay;
    clock.set_wall(1'000'000);
    reboot(0);
    look_again();
    clock.set_wall(day);
    look_again();
    clock.advance(std::chrono::hours(1));
    housekeeper->tick();
  }
  EXPECT_NEAR(boots, 30, 1);
}

TEST_F(Retention, ABackupIsNotOldBecauseTheMachineThatGetsItIs) {
  clock.reboot(std::chrono::hours(1), std::chrono::hours(24 * 1000));
  boot = "of another machine";
  start();
  look_again();
  EXPECT_TRUE(all_is_there(id));
  pass(29);
  EXPECT_TRUE(all_is_there(id));
}

TEST_F(Retention, WithoutABootsIdEachStartCountsAsOne) {
  for (int starts = 0; starts < 50; ++starts) {
    boot += "+";
    start();
    EXPECT_TRUE(is_there());
  }
  pass(31);
  EXPECT_FALSE(is_there());
}

TEST_F(Retention, WhatChangesOnceMoreIsKeptAsLongOnceMore) {
  pass(20);
  work([&](WriteStore& writes) {
    (void)delete_task(writes, writes.task(id, WithData::yes).value(), clock.wall());
  });
  pass(29);
  EXPECT_TRUE(is_there());
  pass(2);
  EXPECT_FALSE(is_there());
}

TEST_F(Retention, TokensAndCertificatesAreNotLostToAClockThatIsSetAhead) {
  const auto in_a_year = clock.wall() + 365 * limits::kDay;
  EnrollmentTokenRecord token;
  token.id = make_uuid(clock.wall());
  token.secret_hash = "hash";
  token.uses = 1;
  token.created_at = clock.wall();
  token.expires_at = in_a_year;
  work([&](WriteStore& writes) {
    writes.insert_enrollment_token(token);
    writes.insert_certificate({"renewed", node, 1, in_a_year, {}});
  });
  const auto is_known = [&] {
    return read([&](const ReadStore& reads) {
      return reads.enrollment_token_by_hash("hash").has_value() && reads.certificate("renewed").has_value();
    });
  };
  pass(40);
  set_clock(kTenYears);
  work([&](WriteStore& writes) { writes.set_last_seen(node, clock.wall(), {}); });
  pass(29);
  EXPECT_TRUE(is_known());
  set_clock(-kTenYears);
  pass_weeks(9);
  EXPECT_TRUE(is_known()) << "they have not ended";
  pass_weeks(52);
  work([&](WriteStore& writes) { writes.set_last_seen(node, clock.wall(), {}); });
  pass(31);
  read([&](const ReadStore& reads) {
    EXPECT_FALSE(reads.enrollment_token_by_hash("hash"));
    EXPECT_FALSE(reads.certificate("renewed"));
    return 0;
  });
}

TEST_F(Retention, ManyThingsAtOnceAreDatedAndGo) {
  work([&](WriteStore& writes) {
    for (int i = 0; i < 1100; ++i)
      writes.insert_message({0, {make_uuid(clock.wall()), node, "many", "", "", 0, "{}", 1}, node, ""});
  });
  const auto count = [&] {
    return read([&](const ReadStore& reads) { return reads.messages({"many", "", ""}, 0, 2000).size(); });
  };
  pass(29);
  EXPECT_EQ(count(), 1100U);
  pass(2);
  EXPECT_EQ(count(), 0U);
}

TEST_F(Retention, KeepsTheNewestRunsWhateverTheClockSays) {
  work([&](WriteStore& writes) {
    TaskSpec wanted = spec();
    wanted.schedule.update_interval = 1000;
    const auto recurring = create_task(writes, wanted, "d", "tester", clock.wall());
    id = recurring.task.spec.id;
    EXPECT_FALSE(recurring.task.spec.options.expires_at);
    auto record = writes.task(id, WithData::no).value();
    record.task.state.run_count = 700;
    writes.update_task_state(record);
    for (std::int64_t run = 1; run <= 700; ++run)
      writes.put_run({id, run, RunStatus::complete, "", run, {}, "", run, ""}, {});
  });
  set_clock(kTenYears);
  look_again();
  const auto runs = read([&](const ReadStore& reads) { return reads.runs(id); });
  ASSERT_EQ(runs.size(), 200U);
  EXPECT_EQ(runs.front().number, 501);
  EXPECT_TRUE(is_there());
}

TEST_F(Retention, CertificatesGoWhenTheirDeviceHasAnother) {
  const auto ended = clock.wall() - limits::kDay;
  const auto in_ten_days = clock.wall() + 10 * limits::kDay;
  NodeRecord silent;
  silent.id = make_uuid(clock.wall());
  silent.name = "beta";
  work([&](WriteStore& writes) {
    writes.insert_node(silent);
    writes.insert_certificate({"old", node, 1, ended, {}});
    writes.insert_certificate({"recent", node, 2, in_ten_days, {}});
    // Its last renewal may never have reached it: it still renews with the first.
    writes.insert_certificate({"held", silent.id, 1, ended, {}});
    writes.insert_certificate({"lost", silent.id, 2, ended + 1, {}});
    writes.insert_certificate({"revoked", silent.id, 1, ended, ended});
    writes.set_last_seen(silent.id, ended, {});
  });
  look_again();
  pass(29);
  work([&](WriteStore& writes) { writes.set_last_seen(node, clock.wall(), {}); });
  const auto is_known = [&](std::string_view fingerprint) {
    return read([&](const ReadStore& reads) { return reads.certificate(fingerprint).has_value(); });
  };
  for (const auto* kept : {"old", "recent", "held", "lost", "revoked"}) EXPECT_TRUE(is_known(kept)) << kept;
  pass(2);
  EXPECT_FALSE(is_known("old"));
  EXPECT_FALSE(is_known("revoked"));
  for (const auto* kept : {"recent", "held", "lost"}) EXPECT_TRUE(is_known(kept)) << kept;
}

}  // namespace
}  // namespace agenttask::server::test

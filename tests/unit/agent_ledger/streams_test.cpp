#include <algorithm>

#include "tests/unit/agent_ledger/ledger_fixture.hpp"

namespace agenttask::agent {
namespace {

class LedgerStreams : public LedgerFixture {
 protected:
  LedgerStreams() { meet_server(); }
};

TEST_F(LedgerStreams, ADirectiveIsStoredWithItsCursor) {
  const auto received = deliver(task(id(1)), task(id(2)));
  EXPECT_EQ(2, received.applied);
  EXPECT_EQ("", received.ignored);
  EXPECT_EQ(directives_, ledger_->poll_cursors()->directives);
  EXPECT_EQ(TaskStatus::sent, get(id(1)).state.status);
  EXPECT_EQ(R"({"message":"hello"})", get(id(2)).spec.data);
  EXPECT_EQ((std::vector{id(1), id(2)}), ready_ids());
  reopen();
  EXPECT_EQ(directives_, ledger_->poll_cursors()->directives);
  EXPECT_EQ(1, ledger_->poll_cursors()->epoch);
}

TEST_F(LedgerStreams, WhatArrivesIsStartedByItsPriorityAndNeverBeforeThoseThatWait) {
  std::vector<std::string> asked;
  ledger_->start_arrivals([&](const Task& task) -> std::optional<Admission> {
    asked.push_back(task.spec.id);
    if (task.spec.id != id(2)) return std::nullopt;
    return Readiness(std::make_shared<int>(0));
  });
  TaskSpec urgent = spec();
  urgent.options.priority = 5;
  deliver(task(id(1)), task(id(2), urgent));
  EXPECT_EQ((std::vector{id(2), id(1)}), asked);
  EXPECT_EQ(TaskStatus::running, get(id(2)).state.status);
  ASSERT_EQ(1U, changes_.back().begun.size());
  EXPECT_EQ(id(2), changes_.back().begun.front().first.task.spec.id);
  asked.clear();
  deliver(task(id(3)));
  EXPECT_TRUE(asked.empty()) << "the first still waits";
  EXPECT_EQ((std::vector{id(1), id(3)}), ready_ids());
}

TEST_F(LedgerStreams, ARepeatedAnswerChangesNothing) {
  const PollAnswer answer = offer(task(id(1)), CancelDirective{id(1)}, CancelDirective{id(9)});
  EXPECT_EQ(3, receive(answer).applied);
  const auto before = reports().size();
  EXPECT_EQ(0, receive(answer).applied);
  EXPECT_EQ(before, reports().size());
  EXPECT_EQ(directives_, ledger_->poll_cursors()->directives);
}

TEST_F(LedgerStreams, AnAnswerThatOverlapsAppliesItsRest) {
  const PollAnswer first = offer(task(id(1)));
  PollAnswer both = first;
  both.lines.push_back(offer(task(id(2))).lines.front());
  receive(first);
  EXPECT_EQ(1, receive(both).applied);
  EXPECT_EQ(directives_, ledger_->poll_cursors()->directives);
}

TEST_F(LedgerStreams, AGapStopsBeforeIt) {
  PollAnswer answer = offer(task(id(1)), task(id(2)), task(id(3)));
  answer.lines.erase(answer.lines.begin() + 1);
  const auto received = receive(answer);
  EXPECT_EQ(1, received.applied);
  EXPECT_NE("", received.ignored);
  EXPECT_EQ(1, ledger_->poll_cursors()->directives.sequence);
  EXPECT_FALSE(ledger_->get(id(3)));
}

TEST_F(LedgerStreams, AnAnswerForALaterCursorIsDropped) {
  (void)offer(task(id(1)));
  const auto received = deliver(task(id(2)));
  EXPECT_EQ(0, received.applied);
  EXPECT_NE("", received.ignored);
  EXPECT_EQ(0, ledger_->poll_cursors()->directives.sequence);
}

TEST_F(LedgerStreams, AnAnswerOfAnotherPastIsDropped) {
  deliver(task(id(1)));
  // A server restored from a backup says something else at number 1, and goes on from there.
  PollAnswer other;
  other.protocol = protocol_version();
  other.epoch = epoch_;
  other.after = Cursor{};
  other.lines = {encode(Directive{1, task(id(7))}), encode(Directive{2, task(id(8))})};
  const auto received = receive(other);
  EXPECT_EQ(0, received.applied);
  EXPECT_NE("", received.ignored);
  EXPECT_FALSE(ledger_->get(id(8)));
  EXPECT_EQ(directives_, ledger_->poll_cursors()->directives);
}

TEST_F(LedgerStreams, AWrongChainWithNothingBeforeItIsDropped) {
  deliver(task(id(1)));
  PollAnswer answer = offer(task(id(2)));
  answer.after->chain = std::string(64, '0');
  EXPECT_EQ(0, receive(answer).applied);
  EXPECT_FALSE(ledger_->get(id(2)));
}

TEST_F(LedgerStreams, WithoutTheServersCursorTheSequenceDecides) {
  deliver(task(id(1)));
  PollAnswer answer = offer(task(id(2)));
  answer.after.reset();
  EXPECT_EQ(1, receive(answer).applied);
  EXPECT_EQ(0, receive(answer).applied);
}

TEST_F(LedgerStreams, AnAnswerOfAnotherEpochIsDropped) {
  PollAnswer answer = offer(task(id(1)));
  answer.epoch = 2;
  EXPECT_EQ(0, receive(answer).applied);
  EXPECT_FALSE(ledger_->get(id(1)));
}

TEST_F(LedgerStreams, ALineThatIsNoDirectiveEndsTheAnswer) {
  PollAnswer answer = offer(task(id(1)));
  answer.lines.emplace_back("not json");
  const auto received = receive(answer);
  EXPECT_EQ(1, received.applied);
  EXPECT_NE("", received.ignored);
}

TEST_F(LedgerStreams, WhatCannotBeAppliedIsRefusedAndPassed) {
  PollAnswer answer = offer(task(id(1)));
  // Nobody can say which task a task that can't be read is: its number has to do.
  answer.lines.emplace_back(R"({"kind":"task","sequence":2,"task":{"id":7,"type":[]}})");
  directives_ = agenttask::advance(directives_, answer.lines.back());
  receive(answer);
  const auto received =
      deliver(UpdateDirective{id(5), "{}"}, UpdateDirective{id(1), R"({"colour":1})"}, task(id(2)));
  EXPECT_EQ(3, received.applied);
  EXPECT_EQ(2, received.refused);
  const auto refused = reports_of<RefusedReport>();
  ASSERT_EQ(3U, refused.size());
  EXPECT_EQ(2, refused[0].directive);
  EXPECT_EQ("unsupported", refused[0].code);
  EXPECT_EQ("not-found", refused[1].code);
  EXPECT_EQ(id(5), refused[1].task_id);
  EXPECT_EQ("invalid", refused[2].code);
  EXPECT_EQ(directives_, ledger_->poll_cursors()->directives);
  EXPECT_TRUE(ledger_->get(id(2)));
}

TEST_F(LedgerStreams, CancelEndsWhatWaits) {
  deliver(task(id(1)));
  deliver(CancelDirective{id(1)});
  EXPECT_EQ(TaskStatus::cancelled, get(id(1)).state.status);
  EXPECT_EQ(clock_.wall(), get(id(1)).state.end_time);
  EXPECT_TRUE(ready_ids().empty());
  const auto ended = reports_of<EndedReport>();
  ASSERT_EQ(1U, ended.size());
  EXPECT_FALSE(ended[0].run);
  EXPECT_EQ(TaskStatus::cancelled, ended[0].state.status);
  EXPECT_FALSE(ledger_->start(id(1))->run);
}

TEST_F(LedgerStreams, CancelBeforeTheTaskIsRemembered) {
  deliver(CancelDirective{id(1)});
  reopen();
  deliver(task(id(1)));
  EXPECT_FALSE(ledger_->get(id(1))) << "it never runs";
  const auto ended = reports_of<EndedReport>();
  ASSERT_EQ(2U, ended.size()) << "said once for the cancel, once for the task";
  EXPECT_EQ(TaskStatus::cancelled, ended[1].state.status);
  EXPECT_TRUE(ready_ids().empty());
}

TEST_F(LedgerStreams, CancelOfWhatRunsAsksTheRunner) {
  deliver(task(id(1)));
  const auto run = start(id(1));
  changes_.clear();
  deliver(CancelDirective{id(1)});
  ASSERT_EQ(1U, changes_.size());
  EXPECT_EQ(std::vector{id(1)}, changes_[0].stop);
  EXPECT_EQ(TaskStatus::running, get(id(1)).state.status);
  EXPECT_TRUE(get(id(1)).state.cancel_requested_at);
  // It was faster than the cancel: the truth is what it did.
  EXPECT_EQ(TaskStatus::complete, end(id(1), run.number, success()).state.status);
}

TEST_F(LedgerStreams, CancelOfWhatEndedChangesNothing) {
  deliver(task(id(1)));
  end(id(1), start(id(1)).number, success());
  const auto before = reports().size();
  deliver(CancelDirective{id(1)});
  EXPECT_EQ(TaskStatus::complete, get(id(1)).state.status);
  EXPECT_EQ(before, reports().size());
}

TEST_F(LedgerStreams, DeleteCancelsAndMarks) {
  deliver(task(id(1)), task(id(2)));
  end(id(2), start(id(2)).number, success());
  deliver(DeleteDirective{id(1)}, DeleteDirective{id(2)});
  EXPECT_EQ(TaskStatus::cancelled, get(id(1)).state.status);
  EXPECT_TRUE(get(id(1)).state.deleted_at);
  EXPECT_EQ(TaskStatus::complete, get(id(2)).state.status);
  EXPECT_TRUE(get(id(2)).state.deleted_at);
  EXPECT_TRUE(reports_of<ChangedReport>().at(0).task.state.deleted_at);
}

TEST_F(LedgerStreams, UpdateIsAppliedOrRefused) {
  deliver(task(id(1)));
  clock_.advance(std::chrono::seconds(1));
  deliver(UpdateDirective{id(1), R"({"tags":["a"],"metadata":{"k":1},"options":{"priority":5}})"});
  const Task updated = get(id(1));
  EXPECT_EQ(std::vector<std::string>{"a"}, updated.spec.tags);
  EXPECT_EQ(R"({"k":1})", updated.spec.metadata);
  EXPECT_EQ(5, updated.spec.options.priority);
  EXPECT_EQ(limits::kDefaultTimeout, updated.spec.options.timeout);
  EXPECT_EQ(clock_.wall(), updated.state.updated_at);
  EXPECT_EQ(5, reports_of<ChangedReport>().at(0).task.spec.options.priority);
  deliver(CancelDirective{id(1)}, UpdateDirective{id(1), R"({"tags":[]})"});
  EXPECT_EQ("ended", reports_of<RefusedReport>().at(0).code);
  EXPECT_EQ(std::vector<std::string>{"a"}, get(id(1)).spec.tags);
}

TEST_F(LedgerStreams, SettingsHold) {
  deliver(SettingsDirective{true});
  EXPECT_TRUE(ledger_->held());
  EXPECT_TRUE(changes_.back().hold);
  EXPECT_TRUE(ledger_->poll_cursors()->hold);
  reopen();
  EXPECT_TRUE(ledger_->held());
}

TEST_F(LedgerStreams, ReportsLeaveInOrderAndAreForgottenOnceStored) {
  for (int i = 1; i <= 5; ++i) deliver(CancelDirective{id(i)});
  auto batch = *ledger_->pending_reports(2, SIZE_MAX);
  ASSERT_EQ(2U, batch.lines.size());
  EXPECT_EQ(0, batch.after.sequence);
  EXPECT_EQ(epoch_, batch.epoch);
  ReportAnswer answer;
  answer.epoch = epoch_;
  for (const auto& text : batch.lines) answer.reports = agenttask::advance(answer.reports, text);
  EXPECT_EQ(2, ledger_->acknowledge(answer)->applied);
  EXPECT_EQ(0, ledger_->acknowledge(answer)->applied) << "twice is once";
  EXPECT_EQ(answer.reports, ledger_->poll_cursors()->reports);
  EXPECT_EQ(answer.reports, ledger_->pending_reports(100, SIZE_MAX)->after);
  EXPECT_EQ(4, ledger_->status()->outbox_reports) << "six with the snapshot's end, two gone";
  acknowledge_all();
  EXPECT_EQ(0, ledger_->status()->outbox_bytes);
  EXPECT_TRUE(ledger_->pending_reports(100, SIZE_MAX)->lines.empty());
}

TEST_F(LedgerStreams, ABatchKeepsToItsBytesButIsNeverEmpty) {
  for (int i = 1; i <= 5; ++i) deliver(CancelDirective{id(i)});
  EXPECT_EQ(1U, ledger_->pending_reports(100, 1)->lines.size());
  const auto first = ledger_->pending_reports(2, SIZE_MAX)->lines;
  const std::size_t bytes = first[0].size() + first[1].size() + 2;
  EXPECT_EQ(2U, ledger_->pending_reports(100, bytes)->lines.size());
  EXPECT_EQ(1U, ledger_->pending_reports(100, bytes - 1)->lines.size());
}

TEST_F(LedgerStreams, AnAcknowledgementOfWhatWasNotWrittenIsIgnored) {
  deliver(CancelDirective{id(1)});
  ReportAnswer answer;
  answer.epoch = epoch_;
  answer.reports = {1, std::string(64, 'a')};
  EXPECT_NE("", ledger_->acknowledge(answer)->ignored);
  answer.reports = {99, ledger_->status()->reports.chain};
  EXPECT_NE("", ledger_->acknowledge(answer)->ignored);
  EXPECT_EQ(2, ledger_->status()->outbox_reports);
}

TEST_F(LedgerStreams, ANewEpochGetsASnapshotOfEverything) {
  deliver(task(id(1)), task(id(2)), task(id(3)), CancelDirective{id(9)});
  const std::string local = create(spec("command"));
  end(id(1), start(id(1)).number, success(),
      chunks({{OutputStream::standard_output, 0, "out"}, {OutputStream::standard_error, 5, "err"}}));
  start(id(2));
  deliver(CancelDirective{id(3)});
  acknowledge_all();
  PollAnswer answer;
  answer.epoch = 7;
  answer.resync = true;
  EXPECT_TRUE(receive(answer).resynced);
  const auto cursors = *ledger_->poll_cursors();
  EXPECT_EQ(7, cursors.epoch);
  EXPECT_EQ(Cursor{}, cursors.directives);
  EXPECT_EQ(Cursor{}, cursors.reports);
  const auto created = reports_of<CreatedReport>();
  ASSERT_EQ(4U, created.size());
  EXPECT_TRUE(created[0].snapshot);
  EXPECT_EQ(TaskStatus::complete, created[0].task.state.status);
  EXPECT_EQ(R"({"data":{},"success":true})", created[0].task.state.result);
  ASSERT_EQ(1U, created[0].runs.size());
  EXPECT_EQ(RunStatus::complete, created[0].runs[0].status);
  EXPECT_EQ(R"({"message":"hello"})", created[1].task.spec.data);
  EXPECT_EQ(TaskStatus::running, created[1].task.state.status);
  EXPECT_EQ(TaskStatus::cancelled, created[2].task.state.status);
  EXPECT_EQ(local, created[3].task.spec.id);
  const auto output = reports_of<OutputReport>();
  ASSERT_EQ(2U, output.size());
  EXPECT_EQ("out", output[0].chunk.bytes);
  EXPECT_EQ((OutputChunk{OutputStream::standard_error, 5, "err"}), output[1].chunk);
  const auto ended = reports_of<EndedReport>();
  ASSERT_EQ(1U, ended.size());
  EXPECT_EQ(id(9), ended[0].task_id);
  EXPECT_EQ(4, std::get<SnapshotEndReport>(reports().back().body).tasks);
  // A resync of an epoch that is past comes late.
  answer.epoch = 7;
  EXPECT_FALSE(receive(answer).resynced);
  answer.epoch = 3;
  EXPECT_FALSE(receive(answer).resynced);
}

TEST_F(LedgerStreams, AnAnswerToReportsMayAskForASnapshotToo) {
  deliver(task(id(1)));
  ReportAnswer answer;
  answer.epoch = 2;
  answer.resync = true;
  EXPECT_TRUE(ledger_->acknowledge(answer)->resynced);
  EXPECT_EQ(1U, reports_of<CreatedReport>().size());
  EXPECT_EQ(2, ledger_->poll_cursors()->epoch);
}

TEST_F(LedgerStreams, ATaskThatIsOfferedAgainInANewEpochStaysAsItIs) {
  deliver(task(id(1)));
  const auto run = start(id(1));
  meet_server(2);
  deliver(task(id(1)));
  EXPECT_EQ(TaskStatus::running, get(id(1)).state.status);
  end(id(1), run.number, success());
  EXPECT_EQ(TaskStatus::complete, reports_of<EndedReport>().at(0).state.status);
  EXPECT_FALSE(ledger_->start(id(1))->run) << "it never starts twice";
}

TEST_F(LedgerStreams, IncarnationsAreNamedBackToTheOneThatAServerSaw) {
  const std::string first = ledger_->poll_cursors()->incarnation;
  EXPECT_TRUE(ledger_->poll_cursors()->predecessors.empty());
  ASSERT_TRUE(ledger_->incarnation_acknowledged());
  reopen();
  const std::string second = ledger_->poll_cursors()->incarnation;
  EXPECT_NE(first, second);
  EXPECT_EQ(std::vector{first}, ledger_->poll_cursors()->predecessors);
  reopen();
  EXPECT_EQ((std::vector{second, first}), ledger_->poll_cursors()->predecessors);
  ASSERT_TRUE(ledger_->incarnation_acknowledged());
  EXPECT_TRUE(ledger_->poll_cursors()->predecessors.empty());
}

class LedgerBeforeEnrolment : public LedgerFixture {};

TEST_F(LedgerBeforeEnrolment, LocalTasksAreToldInTheFirstSnapshot) {
  EXPECT_EQ(0, ledger_->poll_cursors()->epoch);
  const std::string id = create();
  end(id, start(id).number, success(), chunks({{OutputStream::standard_output, 0, "x"}}));
  EXPECT_TRUE(reports().empty());
  ASSERT_TRUE(ledger_->adopt_node("node-1"));
  meet_server(4);
  const auto created = reports_of<CreatedReport>();
  ASSERT_EQ(1U, created.size());
  EXPECT_EQ("node-1", created[0].task.spec.node_id);
  EXPECT_EQ(TaskStatus::complete, created[0].task.state.status);
  EXPECT_EQ(1U, reports_of<OutputReport>().size());
}

TEST_F(LedgerBeforeEnrolment, AnotherNodeBeginsAnew) {
  ASSERT_TRUE(ledger_->adopt_node("node-1"));
  meet_server();
  deliver(task(id(1)));
  ASSERT_TRUE(ledger_->adopt_node("node-1"));
  EXPECT_EQ(1, ledger_->poll_cursors()->epoch);
  ASSERT_TRUE(ledger_->adopt_node("node-2"));
  EXPECT_EQ(0, ledger_->poll_cursors()->epoch);
  EXPECT_EQ(Cursor{}, ledger_->poll_cursors()->directives);
  EXPECT_TRUE(reports().empty());
}

TEST_F(LedgerBeforeEnrolment, AnotherNodeRunsNothingOfTheFormerOne) {
  const std::string before = create();
  meet_server();
  const std::string local = create();
  auto repeated = spec();
  repeated.options.retry = RetryPolicy{5, 1000, 1000};
  repeated.options.on_interrupt = OnInterrupt::rerun;
  auto later = spec();
  later.schedule.scheduled_for = clock_.wall() + 1000;
  deliver(task(id(1)), task(id(2), repeated), task(id(3), later), task(id(4)), task(id(5)));
  const auto running = start(id(2)).number;
  end(id(4), start(id(4)).number, success());
  ASSERT_TRUE(ledger_->park(std::vector{id(5)}, reason::kNoWorker, "no worker"));
  const auto waiting = ledger_->status()->outbox_reports;
  ASSERT_GT(waiting, 0);
  changes_.clear();
  const auto adopted = ledger_->adopt_node("node-2");
  ASSERT_TRUE(adopted);
  EXPECT_EQ("node-1", adopted->former_node);
  EXPECT_EQ(3, adopted->cancelled);
  EXPECT_EQ(1, adopted->running);
  EXPECT_EQ(waiting, adopted->unreported);
  for (const auto& gone : {id(1), id(3), id(5)}) {
    EXPECT_EQ(TaskStatus::cancelled, get(gone).state.status);
    EXPECT_NE(std::string::npos, get(gone).state.detail.find("node-1")) << get(gone).state.detail;
  }
  EXPECT_EQ((std::vector{before, local}), ready_ids());
  EXPECT_EQ(TaskStatus::complete, get(id(4)).state.status);
  EXPECT_TRUE(reports().empty());
  // What runs ends, and is not run again.
  EXPECT_EQ(TaskStatus::running, get(id(2)).state.status);
  EXPECT_EQ(TaskStatus::failed, end(id(2), running, failure(reason::kExitStatus)).state.status);
  EXPECT_TRUE(reports().empty());
  // Nothing of it happens twice, also after a crash.
  reopen();
  EXPECT_TRUE(ledger_->adopt_node("node-2")->former_node.empty());
  EXPECT_EQ(TaskStatus::cancelled, get(id(1)).state.status);
}

TEST_F(LedgerBeforeEnrolment, AnotherServerHearsOnlyOfWhatWasMadeHere) {
  const std::string before = create();
  meet_server();
  const std::string local = create();
  deliver(task(id(1)), task(id(2)), task(id(3)));
  end(id(2), start(id(2)).number, success(), chunks({{OutputStream::standard_output, 0, "x"}}));
  const auto running = start(id(3)).number;
  EXPECT_TRUE(ledger_->status()->former_nodes.empty());
  ASSERT_TRUE(ledger_->adopt_node("node-2"));
  meet("node-2", 7);
  const auto told = [&] {
    std::vector<std::string> ids;
    for (const auto& one : reports_of<CreatedReport>()) ids.push_back(one.task.spec.id);
    return ids;
  };
  EXPECT_EQ((std::vector{before, local}), told());
  EXPECT_EQ(2, reports_of<SnapshotEndReport>().at(0).tasks);
  EXPECT_TRUE(reports_of<OutputReport>().empty());
  const auto said = reports().size();
  ASSERT_EQ(1U, ledger_->status()->former_nodes.size());
  EXPECT_EQ("node-1", ledger_->status()->former_nodes[0].node_id);
  EXPECT_EQ(3, ledger_->status()->former_nodes[0].tasks);
  EXPECT_EQ(1, ledger_->status()->former_nodes[0].running);
  // How it ends is not told either, and can be read here.
  end(id(3), running, success(), chunks({{OutputStream::standard_output, 0, "y"}}));
  ASSERT_TRUE(ledger_->remove(id(1)));
  EXPECT_EQ(said, reports().size());
  EXPECT_EQ(TaskStatus::complete, get(id(3)).state.status);
  EXPECT_EQ("node-1", get(id(3)).spec.node_id);
  EXPECT_EQ(1U, ledger_->kept_output(id(3), running)->size());
  EXPECT_EQ(0, ledger_->status()->former_nodes[0].running);
  // Until its retention; what is remembered then is not told in a snapshot, but keeps it from running.
  acknowledge_all();
  EXPECT_EQ(0, ledger_->purge(10)->tasks);
  clock_.advance(std::chrono::milliseconds(options_.retention + 1));
  EXPECT_EQ(3, ledger_->purge(10)->tasks);
  EXPECT_TRUE(ledger_->status()->former_nodes.empty());
  meet("node-2", 8);
  EXPECT_TRUE(reports_of<EndedReport>().empty());
  EXPECT_EQ((std::vector{before, local}), told());
  deliver(task(id(2)));
  ASSERT_EQ(1U, reports_of<EndedReport>().size());
  EXPECT_EQ((std::vector{before, local}), ready_ids());
}

TEST_F(LedgerBeforeEnrolment, AnotherServerThatAsksForTheSameIdHearsHowItStands) {
  meet_server();
  deliver(task(id(1)), task(id(2)), task(id(3)));
  end(id(1), start(id(1)).number, success());
  const auto running = start(id(2)).number;
  ASSERT_TRUE(ledger_->adopt_node("node-2"));
  meet("node-2", 7);
  acknowledge_all();
  deliver(task(id(1)), task(id(2)), CancelDirective{id(2)});
  const auto ended = reports_of<EndedReport>();
  ASSERT_EQ(1U, ended.size());
  EXPECT_EQ(id(1), ended[0].task_id);
  EXPECT_EQ(TaskStatus::complete, ended[0].state.status);
  ASSERT_EQ(1U, reports_of<StartedReport>().size());
  EXPECT_EQ(running, reports_of<StartedReport>()[0].run);
  EXPECT_EQ(std::vector{id(2)}, changes_.back().stop);
  EXPECT_EQ("node-2", get(id(2)).spec.node_id);
  end(id(2), running, {RunStatus::cancelled, "", "", "{}"});
  EXPECT_EQ(2U, reports_of<EndedReport>().size());
  EXPECT_EQ(1, ledger_->status()->former_nodes.at(0).tasks) << "the third is the other one's still";
}

TEST_F(LedgerBeforeEnrolment, WhoBecomesTheFormerNodeAgainTellsItAll) {
  meet_server();
  deliver(task(id(1)), task(id(2)));
  const auto running = start(id(1)).number;
  ASSERT_TRUE(ledger_->adopt_node("node-2"));
  meet("node-2", 7);
  deliver(task(id(3)));
  const auto adopted = ledger_->adopt_node("node-3");
  ASSERT_TRUE(adopted);
  EXPECT_EQ(1, adopted->cancelled);
  EXPECT_EQ(0, adopted->running) << "what runs is of another";
  EXPECT_NE(std::string::npos, get(id(1)).state.detail.find("node-1"));
  EXPECT_EQ(2U, ledger_->status()->former_nodes.size());
  end(id(1), running, success());
  ASSERT_TRUE(ledger_->adopt_node("node-1"));
  meet("node-1", 9);
  const auto created = reports_of<CreatedReport>();
  ASSERT_EQ(2U, created.size());
  EXPECT_EQ(TaskStatus::complete, created[0].task.state.status);
  EXPECT_EQ(TaskStatus::cancelled, created[1].task.state.status);
}

TEST_F(LedgerStreams, InQuarantineNothingIsStartedUntilAnAnswerNoLongerSaysSo) {
  deliver(task(id(1)));
  PollAnswer answer;
  answer.protocol = protocol_version();
  answer.quarantined = "two ledgers";
  changes_.clear();
  ASSERT_TRUE(ledger_->receive(answer));
  EXPECT_FALSE(changes_.empty());
  EXPECT_TRUE(ledger_->held());
  EXPECT_TRUE(ledger_->poll_cursors()->quarantined);
  EXPECT_EQ("two ledgers", ledger_->status()->quarantine);
  reopen();
  EXPECT_EQ("quarantined", ledger_->start(id(1))->reason);
  // The epoch that a release begins does not end it; the answer after the snapshot does.
  answer.resync = true;
  answer.epoch = 9;
  ASSERT_TRUE(ledger_->receive(answer)->resynced);
  EXPECT_TRUE(ledger_->held());
  answer.resync = false;
  answer.quarantined.clear();
  ASSERT_TRUE(ledger_->receive(answer));
  EXPECT_FALSE(ledger_->held());
  EXPECT_TRUE(ledger_->start(id(1))->run);
}

TEST_F(LedgerStreams, AQuarantineEndsWithTheServerItWasOf) {
  PollAnswer answer;
  answer.protocol = protocol_version();
  answer.quarantined = "two ledgers";
  const auto quarantine = [&] {
    ASSERT_TRUE(ledger_->receive(answer));
    ASSERT_TRUE(ledger_->held());
    changes_.clear();
  };
  auto repeated = spec();
  repeated.options.on_interrupt = OnInterrupt::rerun;
  deliver(task(id(1)), task(id(2), repeated));
  const auto running = start(id(2)).number;
  const std::string local = create();
  changes_.clear();
  ASSERT_TRUE(ledger_->leave_server());
  for (const auto& change : changes_) EXPECT_TRUE(change.tasks.empty() && !change.hold);
  EXPECT_EQ(get(id(2)).state.status, TaskStatus::running) << "without a quarantine all goes on";
  EXPECT_EQ((std::vector{id(1), local}), ready_ids());

  quarantine();
  ASSERT_TRUE(ledger_->leave_server());
  ASSERT_FALSE(changes_.empty());
  EXPECT_TRUE(changes_.back().hold);
  EXPECT_FALSE(ledger_->held());
  EXPECT_EQ("", ledger_->status()->quarantine);
  EXPECT_EQ(TaskStatus::cancelled, get(id(1)).state.status) << "another device may have it, too";
  EXPECT_NE(std::string::npos, get(id(1)).state.detail.find("quarantine"));
  EXPECT_EQ(TaskStatus::failed, end(id(2), running, failure(reason::kInterrupted)).state.status);
  EXPECT_EQ(std::vector{local}, ready_ids());

  quarantine();
  ASSERT_TRUE(ledger_->adopt_node("node-1"));
  EXPECT_TRUE(ledger_->held()) << "it is the same node still";
  ASSERT_TRUE(ledger_->adopt_node("node-2"));
  EXPECT_FALSE(ledger_->held());
  reopen();
  EXPECT_FALSE(ledger_->held());
  EXPECT_TRUE(ledger_->start(local)->run);
}

}  // namespace
}  // namespace agenttask::agent

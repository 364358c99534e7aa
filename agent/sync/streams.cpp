#include "agent/sync/streams.hpp"

#include <algorithm>
#include <utility>

#include "agent/ledger/ledger_file.hpp"
#include "platform/protocol/message.hpp"

namespace agenttask::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAnswerTime{20'000};    ///< what an answer may take beyond the wait that we allowed
constexpr milliseconds kReportsTime{600'000};  ///< a full batch over a thin line
constexpr milliseconds kShortestPoll{
    1'000};  ///< an empty answer sooner than this is not asked for again at once
constexpr milliseconds kAfterDropped{5'000};  ///< between polls whose answers don't fit what we have
constexpr std::size_t kBatchBytes = 4 * 1024 * 1024;
constexpr std::size_t kLeastBatchBytes = 16 * 1024;  ///< over a line that breaks again and again
constexpr std::size_t kWatchedTasks = 64;

CallFailure other_protocol(const std::string& theirs) {
  return CallFailure{.code = "protocol",
                     .message = "the server speaks protocol " + theirs.substr(0, 32) + " and this agent " +
                                protocol_version() + "; upgrade the older of the two",
                     .refused = true};
}

}  // namespace

Streams::Streams(Ledger& ledger, ServerLink& link, const Clock& clock, Logger& log, StatusBoard& board,
                 const SyncOptions& options, Events events)
    : ledger_(ledger),
      link_(link),
      clock_(clock),
      log_(log),
      board_(board),
      options_(options),
      events_(std::move(events)),
      poll_(options.poll),
      batch_bytes_(kBatchBytes),
      poll_timer_(options.first_retry, options.longest_retry, options.fraction),
      reports_timer_(options.first_retry, options.longest_retry, options.fraction) {}

void Streams::use(ServerPeer peer, std::string node_id, std::string name) {
  leave();
  peer_ = std::move(peer);
  node_id_ = std::move(node_id);
  name_ = std::move(name);
}

void Streams::renewed(ServerPeer peer) {
  peer_ = std::move(peer);
  // An answer to the former certificate, "it has expired", would ask for another renewal.
  link_.abandon(ServerCall::poll);
  link_.abandon(ServerCall::reports);
  poll_open_ = reports_open_ = false;
  retry_now();
}

void Streams::leave() {
  link_.abandon(ServerCall::poll);
  link_.abandon(ServerCall::reports);
  peer_.reset();
  poll_open_ = reports_open_ = adopted_ = acknowledged_ = answered_ = reports_failed_ = reports_want_poll_ =
      false;
  reports_waiting_ = true;
  workers_known_.reset();
  watching_.clear();
  events_.watch(watching_);
  poll_timer_.reset();
  reports_timer_.reset();
}

void Streams::configure(PollSettings poll) {
  poll_ = poll;
  poll_anew();
}

void Streams::poll_anew() {
  if (poll_open_) {
    link_.abandon(ServerCall::poll);
    poll_open_ = false;
  }
  if (answered_) poll_timer_.reset();
}

void Streams::tell_workers(WorkerSummary workers) {
  workers_ = std::move(workers);
  if (workers_ != workers_known_) poll_anew();
}

void Streams::retry_now() {
  poll_timer_.reset();
  reports_timer_.reset();
}

void Streams::step(MonotonicTime now) {
  if (!peer_) return;
  if (!poll_open_ && poll_timer_.due(now)) start_poll();
  // Not before the server knows that this start of the agent follows the last one.
  if (acknowledged_ && !reports_open_ && reports_waiting_ && reports_timer_.due(now)) start_reports();
}

MonotonicTime Streams::next() const {
  MonotonicTime next = MonotonicTime::max();
  if (!peer_) return next;
  if (!poll_open_) next = std::min(next, poll_timer_.next());
  if (adopted_ && acknowledged_ && !reports_open_ && reports_waiting_)
    next = std::min(next, reports_timer_.next());
  return next;
}

Result<PollRequest> Streams::poll_request() {
  auto cursors = ledger_.poll_cursors();
  if (!cursors) return cursors.error();
  return PollRequest{.protocol = protocol_version(),
                     .version = options_.version,
                     .platform = options_.platform,
                     .name = name_,
                     .epoch = cursors->epoch,
                     .directives = cursors->directives,
                     .reports = cursors->reports,
                     .incarnation = cursors->incarnation,
                     .predecessors = cursors->predecessors,
                     .wait = wait_of_poll(),
                     .time = clock_.wall(),
                     .hold = cursors->hold,
                     .watching = watching_,
                     .quarantined = cursors->quarantined,
                     .workers = workers_ != workers_known_ ? workers_ : std::nullopt,
                     .incomplete = cursors->incomplete};
}

/// The first question is not held, so that it is known at once whether the server is there.
std::int64_t Streams::wait_of_poll() const {
  return answered_ && poll_.interval.count() == 0 ? poll_.wait.count() : 0;
}

std::optional<LedgerProblem> Streams::ledger_problem() {
  if (auto problem = ledger_.problem()) return problem;
  if (adopted_) return std::nullopt;
  const auto adopted = ledger_.adopt_node(node_id_);
  if (!adopted) return describe_ledger_problem(adopted.error());
  if (!adopted->former_node.empty()) board_.was_another(*adopted);
  adopted_ = true;
  return std::nullopt;
}

/// The device is there, and says why it can take nothing. Nothing of the ledger is asked for or promised.
void Streams::start_poll_without_ledger(const LedgerProblem& problem) {
  board_.note(Trouble::ledger,
              {.code = problem.code, .message = "the ledger can't be used: " + problem.detail});
  PollRequest request;
  request.protocol = protocol_version();
  request.version = options_.version;
  request.platform = options_.platform;
  request.name = name_;
  request.wait = wait_of_poll();
  request.time = clock_.wall();
  request.ledger = problem;
  poll_open_ = true;
  // What the ledger knows next is told from the beginning.
  adopted_ = acknowledged_ = false;
  workers_known_.reset();
  const MonotonicTime started = clock_.monotonic();
  link_.start(ServerCall::poll, *peer_, encode(request), milliseconds(request.wait) + kAnswerTime,
              [this, started](const net::HttpResult& result) { poll_without_ledger_done(result, started); });
}

void Streams::poll_without_ledger_done(const net::HttpResult& result, MonotonicTime started) {
  poll_open_ = false;
  if (!answer_of(result)) return;
  answered_ = true;
  poll_timer_.succeeded();
  board_.fine(Trouble::poll);
  board_.connected();
  schedule_poll(false, started);
}

void Streams::start_poll() {
  if (const auto problem = ledger_problem()) return start_poll_without_ledger(*problem);
  const auto request = poll_request();
  if (!request) return start_poll_without_ledger(describe_ledger_problem(request.error()));
  poll_open_ = true;
  if (request->workers) workers_known_.reset();  // whether it arrives is known by the answer only
  const MonotonicTime started = clock_.monotonic();
  link_.start(ServerCall::poll, *peer_, encode(*request), milliseconds(request->wait) + kAnswerTime,
              [this, started, told = request->workers](const net::HttpResult& result) {
                poll_done(result, started, told);
              });
}

void Streams::poll_done(const net::HttpResult& result, MonotonicTime started,
                        const std::optional<WorkerSummary>& told) {
  poll_open_ = false;
  const auto answer = answer_of(result);
  if (!answer) return;
  if (const auto failure = take(*answer, started)) {
    // The server is there all the same: the next poll tells it what is wrong.
    board_.note(Trouble::ledger, *failure);
    poll_timer_.at(clock_.monotonic() + kAfterDropped);
    return;
  }
  // In quarantine nothing is stored; a server that was put back has forgotten it.
  if (!answer->quarantined.empty()) {
    workers_known_.reset();
  } else if (told || answer->resync) {
    workers_known_ = told;
  }
  answered_ = true;
  poll_timer_.succeeded();
  board_.fine(Trouble::poll);
  board_.fine(Trouble::ledger);
  board_.connected();
  if (std::exchange(reports_want_poll_, false)) reports_timer_.reset();
}

/// What the server said, where it answered as one of ours does; what keeps it from that is noted.
std::optional<PollAnswer> Streams::answer_of(const net::HttpResult& result) {
  if (const auto failure = failure_of(result, clock_.wall())) {
    if (result) board_.contact(0);
    poll_failed(*failure, Trouble::poll);
    if (failure->certificate_expired) events_.certificate_expired();
    return std::nullopt;
  }
  auto answer = decode_poll_answer(result->body);
  if (!answer) {
    poll_failed(failure_of(with_context(answer.error(), "the server's answer makes no sense")),
                Trouble::poll);
    return std::nullopt;
  }
  board_.contact(answer->time);
  if (!understands_protocol(answer->protocol)) {
    poll_failed(other_protocol(answer->protocol), Trouble::poll);
    return std::nullopt;
  }
  return *std::move(answer);
}

/// Into the ledger with it, each directive together with its cursor; the next poll acknowledges them.
std::optional<CallFailure> Streams::take(const PollAnswer& answer, MonotonicTime started) {
  const auto received = ledger_.receive(answer);
  if (!received) return failure_of(with_context(received.error(), "cannot store what the server sent"));
  // A server that keeps this device apart, or that took its word for a late one, has not noted who it is now.
  // One that waits for the snapshot has, and needs the reports.
  const bool noted = answer.resync || answer.after;
  if (!acknowledged_ && noted) {
    if (const auto kept = ledger_.incarnation_acknowledged(); !kept) return failure_of(kept.error());
    acknowledged_ = true;
  }
  if (received->resynced) {
    log_.info("the server began a new epoch: a snapshot of all tasks goes to it", {{"epoch", answer.epoch}});
    reports_waiting_ = true;
  }
  if (!received->ignored.empty()) {
    log_.warning("an answer of the server was dropped", {{"why", received->ignored}});
    poll_timer_.at(clock_.monotonic() + kAfterDropped);
    return std::nullopt;
  }
  if (!answer.name.empty() && answer.name != name_) {
    name_ = answer.name;
    events_.renamed(name_);
  }
  auto watch = answer.watch;
  if (watch.size() > kWatchedTasks) watch.resize(kWatchedTasks);
  const bool other_watch = watch != watching_;
  if (other_watch) {
    watching_ = std::move(watch);
    events_.watch(watching_);
  }
  schedule_poll(received->applied > 0 || received->resynced || other_watch, started);
  return std::nullopt;
}

/// At once when there was something (the poll acknowledges it) or the server held the last one; never in a
/// tight circle.
void Streams::schedule_poll(bool had_something, MonotonicTime started) {
  const MonotonicTime now = clock_.monotonic();
  const bool held = answered_ && poll_.interval.count() == 0;
  if (had_something || (poll_.interval.count() == 0 && !held)) {
    poll_timer_.at(now);
  } else if (poll_.interval.count() > 0) {
    poll_timer_.at(now + poll_.interval);
  } else {
    // Around a second, not exactly: a server that stops answers all its devices at once.
    const milliseconds spread(
        static_cast<long long>(options_.fraction() * static_cast<double>(kShortestPoll.count())));
    poll_timer_.at(now - started < kShortestPoll ? now + kShortestPoll / 2 + spread : now);
  }
}

void Streams::poll_failed(const CallFailure& failure, Trouble which) {
  answered_ = false;
  poll_timer_.failed(clock_.monotonic(), failure);
  board_.trouble(which, failure, poll_timer_.next());
}

void Streams::start_reports() {
  const auto batch = ledger_.pending_reports(limits::kReportsInPost, batch_bytes_);
  if (!batch) {
    const CallFailure failure = failure_of(batch.error());
    reports_timer_.failed(clock_.monotonic(), failure);
    return board_.trouble(Trouble::reports, failure, reports_timer_.next());
  }
  if (batch->lines.empty()) {
    reports_waiting_ = false;
    return;
  }
  reports_open_ = true;
  std::string body = encode(*batch);
  const std::size_t bytes = body.size();
  link_.start(ServerCall::reports, *peer_, std::move(body), kReportsTime,
              [this, after = batch->after, bytes](const net::HttpResult& result) {
                reports_done(result, after, bytes);
              });
}

void Streams::size_batches(const net::HttpResult& result, std::size_t bytes) {
  // What breaks in the middle is sent whole again: over a line that carries less than that at a time it would
  // never arrive.
  if (result) {
    batch_bytes_ = std::min(batch_bytes_ + batch_bytes_ / 8, kBatchBytes);
  } else if (const auto why = result.error().failure;
             why == net::HttpFailure::broken || why == net::HttpFailure::timeout) {
    batch_bytes_ = std::max(std::min(batch_bytes_, bytes) / 2, kLeastBatchBytes);
  }
}

void Streams::reports_done(const net::HttpResult& result, const Cursor& after, std::size_t bytes) {
  reports_open_ = false;
  size_batches(result, bytes);
  auto failure = failure_of(result, clock_.wall());
  if (!failure) {
    const auto answer = decode_report_answer(result->body);
    failure = answer
                  ? take(*answer, after)
                  : failure_of(with_context(answer.error(), "the server's answer to reports makes no sense"));
  }
  if (!failure) {
    reports_timer_.reset();
    reports_failed_ = false;
    return board_.fine(Trouble::reports);
  }
  reports_timer_.failed(clock_.monotonic(), *failure);
  // A held poll would notice late that the server went away or came back: another, not held, finds out now.
  // Once, so that reports that alone fail are not sent in a circle.
  if (!std::exchange(reports_failed_, true) && failure->transport) {
    poll_anew();
    answered_ = false;
    reports_want_poll_ = true;
  }
  board_.trouble(Trouble::reports, *failure, reports_timer_.next());
  if (failure->certificate_expired) events_.certificate_expired();
}

std::optional<CallFailure> Streams::take(const ReportAnswer& answer, const Cursor& after) {
  const auto received = ledger_.acknowledge(answer);
  if (!received)
    return failure_of(with_context(received.error(), "cannot store what the server acknowledged"));
  if (received->resynced) {
    workers_known_.reset();
    poll_anew();
    return std::nullopt;
  }
  if (!received->ignored.empty() || answer.reports.sequence <= after.sequence) {
    return CallFailure{.code = "no-progress",
                       .message = "the server took none of the reports" +
                                  (received->ignored.empty() ? std::string() : ": " + received->ignored)};
  }
  return std::nullopt;
}

}  // namespace agenttask::agent

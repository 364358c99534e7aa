#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/ledger/ledger.hpp"
#include "agent/sync/retry_timer.hpp"
#include "agent/sync/server_link.hpp"
#include "agent/sync/status_board.hpp"
#include "agent/sync/sync.hpp"

namespace agenttask::agent {

/// The two streams of one device with one server: polls for directives, posts reports, beside each other.
/// Threads: one owner. Crash: it holds nothing that the ledger does not.
class Streams {
 public:
  /// `answered` hears of each answer that proves the server is there; `certificate_expired` that it says so.
  struct Events {
    std::function<void()> certificate_expired;
    std::function<void(const std::vector<std::string>& watch)> watch;
    std::function<void(const std::string& name)> renamed;  ///< the server calls this node so
  };

  Streams(Ledger& ledger, ServerLink& link, const Clock& clock, Logger& log, StatusBoard& board,
          const SyncOptions& options, Events events);

  /// From now on with this server and as this node; calls under way are given up.
  void use(ServerPeer peer, std::string node_id, std::string name);
  /// The same node has a new certificate; calls under way with the former one begin anew.
  void renewed(ServerPeer peer);
  /// With no server.
  void leave();

  void configure(PollSettings poll);
  void reports_wait() { reports_waiting_ = true; }
  /// Something that a poll says has changed: the present one is given up for another.
  void poll_anew();
  /// The next poll says so, unless the server knows it already.
  void tell_workers(WorkerSummary workers);
  /// Whatever waits for a retry is due now.
  void retry_now();

  void step(MonotonicTime now);
  /// When step() has something to do unless something happens before.
  [[nodiscard]] MonotonicTime next() const;

 private:
  void start_poll();
  void start_poll_without_ledger(const LedgerProblem& problem);
  void poll_without_ledger_done(const net::HttpResult& result, MonotonicTime started);
  void poll_done(const net::HttpResult& result, MonotonicTime started,
                 const std::optional<WorkerSummary>& told);
  [[nodiscard]] std::optional<CallFailure> take(const PollAnswer& answer, MonotonicTime started);
  void schedule_poll(bool had_something, MonotonicTime started);
  void poll_failed(const CallFailure& failure, Trouble which);
  void start_reports();
  void reports_done(const net::HttpResult& result, const Cursor& after, std::size_t bytes);
  void size_batches(const net::HttpResult& result, std::size_t bytes);
  [[nodiscard]] std::optional<CallFailure> take(const ReportAnswer& answer, const Cursor& after);
  [[nodiscard]] std::optional<PollAnswer> answer_of(const net::HttpResult& result);
  [[nodiscard]] Result<PollRequest> poll_request();
  [[nodiscard]] std::int64_t wait_of_poll() const;
  /// Why the ledger can't be used; makes sure first that it knows whose it is.
  [[nodiscard]] std::optional<LedgerProblem> ledger_problem();

  Ledger& ledger_;
  ServerLink& link_;
  const Clock& clock_;
  Logger& log_;
  StatusBoard& board_;
  const SyncOptions& options_;
  Events events_;
  PollSettings poll_;
  std::size_t batch_bytes_;  ///< of reports in one call: fewer where the line breaks

  std::optional<ServerPeer> peer_;
  std::string node_id_;
  std::string name_;
  bool adopted_ = false;       ///< the ledger knows whose its tasks are
  bool acknowledged_ = false;  ///< this incarnation, by this server
  bool answered_ = false;      ///< the last poll was
  bool poll_open_ = false;
  bool reports_open_ = false;
  bool reports_waiting_ = true;
  bool reports_failed_ = false;     ///< and did not succeed since
  bool reports_want_poll_ = false;  ///< nobody answered them: tried again as soon as a poll is answered
  std::vector<std::string> watching_;
  std::optional<WorkerSummary> workers_;        ///< what the device can do
  std::optional<WorkerSummary> workers_known_;  ///< what this server heard of it since our start
  RetryTimer poll_timer_;
  RetryTimer reports_timer_;
};

}  // namespace agenttask::agent

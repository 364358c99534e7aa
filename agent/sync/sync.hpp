#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "agent/ledger/ledger.hpp"
#include "agent/runner/follower.hpp"
#include "agent/sync/identity.hpp"
#include "agent/sync/server_link.hpp"
#include "agent/sync/sync_status.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/base/log.hpp"

namespace agenttask::agent {

/// May change while it runs.
struct PollSettings {
  std::chrono::milliseconds wait{limits::kWaitMost};  ///< how long the server may hold a poll
  std::chrono::milliseconds interval{0};  ///< ask this often in place of long polls; 0: long polls
};

struct SyncOptions {
  PollSettings poll;
  std::string version;                               ///< of the agent
  std::string platform;                              ///< linux-x86_64
  std::function<std::string()> own_name;             ///< what the device calls itself now; must be callable
  std::chrono::milliseconds first_retry{5'000};      ///< the first is within this, drawn evenly
  std::chrono::milliseconds longest_retry{300'000};  ///< later ones are within this
  std::function<double()> fraction;                  ///< draws from [0, 1); empty: the system's
};

/// Keeps device and server in step: the two streams of docs/protocol.md over HTTPS, live output, enrolment,
/// renewal.
///
/// It holds no truth: what it sends and what it got is in the ledger, so that a crash anywhere is a lost
/// message and nothing more. A server that is away is tried for ever: full jitter, honouring Retry-After.
///
/// Threads: step() and run() belong to one thread, the other methods to any. Ledger, link, clock and log
/// outlive it.
class Sync {
 public:
  /// Follows the runs of a task that come after the run `after`.
  using Follow =
      std::function<Result<std::unique_ptr<Follower>>(std::string_view task_id, std::int64_t after)>;

  Sync(Ledger& ledger, ServerLink& link, IdentityFolder folder, Follow follow, const Clock& clock,
       Logger& log, SyncOptions options);
  ~Sync();
  Sync(const Sync&) = delete;
  Sync& operator=(const Sync&) = delete;

  /// Does what is due now and says how long nothing will be, unless a call ends or somebody wakes it.
  [[nodiscard]] std::chrono::milliseconds step(const std::stop_token& stop = {});
  /// Steps and waits until `stop`.
  void run(const std::stop_token& stop);

  /// Looks again now, without waiting for a retry that is due later.
  void wake();
  void configure(PollSettings settings);
  /// What the device can do now: told to the server after each start, and again when it has changed.
  void tell_workers(WorkerSummary workers);
  [[nodiscard]] SyncStatus status() const;

  /// Stores the wish to enrol and comes back at once; it is carried out as soon as the server answers. `name`
  /// may be empty: what the device calls itself when the server is asked. The same URL and token again change
  /// nothing; others replace the wish, and once they succeed the identity. `invalid`: URL, token or name is
  /// wrong (field `url`, `token`, `name`).
  [[nodiscard]] Result<void> enroll(std::string_view url, std::string_view token, std::string_view name);
  /// The settings ask for an enrolment with `url` (empty: not even that is good) that can't be tried: the
  /// status says so, until somebody enrols or unenrols, where this device is no node and wishes to be none.
  void cannot_enroll(std::string url, Error why);
  /// Forgets server, key, certificate and a wish to enrol. Tasks stay.
  [[nodiscard]] Result<void> unenroll();

 private:
  class Body;
  std::unique_ptr<Body> body_;
};

}  // namespace agenttask::agent

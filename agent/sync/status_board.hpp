#pragma once
#include <array>
#include <mutex>
#include <optional>
#include <string>

#include "agent/ledger/ledger_types.hpp"
#include "agent/sync/retry_timer.hpp"
#include "agent/sync/sync_status.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/log.hpp"

namespace agenttask::agent {

/// Which part of the link has a trouble; the first of them is what people are shown.
enum class Trouble : std::uint8_t { identity, enrollment, ledger, poll, reports, renewal };

/// What the parts of sync tell about how they are doing. Also logs: a trouble once when it begins or changes.
/// Threads: any.
class StatusBoard {
 public:
  StatusBoard(const Clock& clock, Logger& log) : clock_(clock), log_(log) {}

  /// Who we are to whom; empty strings where we are nobody. Begins anew: `connecting`, `enrolling` or
  /// `not_enrolled`.
  void belongs(std::string url, std::string node_id, std::string name,
               std::optional<UnixMilliseconds> certificate_expires, bool enrolling);
  /// The device was the node of another identity before.
  void was_another(const AdoptedNode& adopted);
  /// Somebody wishes to enrol there: what came of an earlier wish is forgotten. None: the wish is gone.
  void wishes(std::optional<std::string> url);
  /// The server answered. `server_time` 0: it did not say.
  void contact(UnixMilliseconds server_time);
  void connected();
  /// No `next_attempt`: it is not tried again.
  void trouble(Trouble which, const CallFailure& failure, std::optional<MonotonicTime> next_attempt);
  /// A trouble of ours while the server is there: shown, but no reason to call it disconnected.
  void note(Trouble which, const CallFailure& failure);
  void fine(Trouble which);
  void polls_every(DurationMilliseconds interval);
  [[nodiscard]] SyncStatus status() const;

 private:
  /// Remembers and logs it; with the lock held.
  void keep(Trouble which, const CallFailure& failure, std::optional<UnixMilliseconds> next_attempt);

  struct Entry {
    CallFailure failure;
    UnixMilliseconds since = 0;
    std::optional<UnixMilliseconds> next_attempt;
  };
  static constexpr std::size_t kKinds = 6;

  const Clock& clock_;
  Logger& log_;
  mutable std::mutex mutex_;
  SyncStatus status_;
  std::array<std::optional<Entry>, kKinds> troubles_;
};

}  // namespace agenttask::agent

#pragma once
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "agent/sync/identity.hpp"
#include "agent/sync/retry_timer.hpp"
#include "agent/sync/server_link.hpp"
#include "agent/sync/status_board.hpp"
#include "agent/sync/sync.hpp"

namespace agenttask::agent {

/// Becoming and staying a node of a server: enrolment, renewal, and the files that say who we are.
///
/// A renewal takes a new key: an old copy of the files is worth nothing once its certificate ends. Key and
/// certificate are kept in one file, so a crash leaves the old pair or the new one; when the answer is lost
/// the old one serves on. Threads: enroll() and unenroll() any; the rest one owner.
class Membership {
 public:
  struct Events {
    /// We are somebody now: a new node, or the same with a new certificate (`renewed`). None: nobody any
    /// more.
    std::function<void(const Identity* identity, bool renewed)> identity;
  };

  Membership(IdentityFolder folder, ServerLink& link, const Clock& clock, Logger& log, StatusBoard& board,
             const SyncOptions& options, Events events);

  [[nodiscard]] Result<void> enroll(std::string_view url, std::string_view token, std::string_view name);
  [[nodiscard]] Result<void> unenroll();
  void cannot_enroll(std::string url, Error why);

  /// Reads the files: at the start, and after enroll() and unenroll().
  void load();
  /// Known to belong to no server, as far as load() has seen.
  [[nodiscard]] bool alone() const { return alone_; }
  void retry_now();
  /// The server says that our certificate has expired, whatever our clock says.
  void expired();
  /// The server calls this node so from now on.
  void renamed(const std::string& name);
  void step(MonotonicTime now, const std::stop_token& stop);
  [[nodiscard]] MonotonicTime next() const;

 private:
  /// What the settings ask for, and why it can't be tried.
  struct UnusableWish {
    std::string url;
    CallFailure failure;
  };

  void start_enrollment(const std::stop_token& stop);
  void enrollment_done(const net::HttpResult& result);
  void enrollment_failed(const CallFailure& failure);
  void enrollment_refused(const CallFailure& failure);
  [[nodiscard]] Result<Identity> identity_from(const std::string& answer) const;
  [[nodiscard]] Result<void> become(const Identity& identity);
  void start_renewal();
  void renewal_done(const net::HttpResult& result, const std::string& key_pem);
  void renewal_failed(const CallFailure& failure);
  [[nodiscard]] bool renewal_due() const;
  void plan_renewal();
  [[nodiscard]] std::string wished_name() const;
  void show();
  void show(const UnusableWish& wish);

  const IdentityFolder folder_;
  ServerLink& link_;
  const Clock& clock_;
  Logger& log_;
  StatusBoard& board_;
  const SyncOptions& options_;
  Events events_;
  std::mutex files_;                      ///< who reads and writes them: the console's threads and ours
  std::optional<UnusableWish> unusable_;  ///< with the mutex

  std::optional<Identity> identity_;
  std::optional<PendingEnrollment> pending_;
  bool alone_ = false;
  bool enrolling_ = false;
  bool refused_ = false;  ///< the server does not take the token: only a new wish, or a start, tries again
  bool renewing_ = false;
  bool expired_ = false;
  std::optional<MonotonicTime> renewed_;  ///< the last time in this process
  RetryTimer enrollment_timer_;
  RetryTimer renewal_timer_;
};

}  // namespace agenttask::agent

#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "platform/base/clock.hpp"
#include "platform/base/log.hpp"
#include "platform/os/secure_file.hpp"
#include "server/api/router.hpp"
#include "server/http/dispatcher.hpp"
#include "server/http/http_server.hpp"
#include "server/mailboxes/mailboxes.hpp"
#include "server/main/settings.hpp"
#include "server/main/state_folder.hpp"
#include "server/store/batch_carrier.hpp"
#include "server/store/housekeeping.hpp"
#include "server/store/presence.hpp"
#include "server/store/writer.hpp"

namespace agenttask::server {

/// The running server: composes all parts, and takes them apart in the order that loses nothing.
/// Threads: one owner. Crash: what was answered is on disk; the next start goes on from there.
class Service {
 public:
  /// Serves when it returns. One server a state folder: `conflict` names the other.
  static Result<std::unique_ptr<Service>> start(const ServerSettings& settings, const StateFolder& state,
                                                const Clock& clock, Logger& logger);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  [[nodiscard]] std::uint16_t port() const { return http_->port(); }

  /// Returns while the threads of the network move. Readers and the writer are not tried: one that waits for
  /// a slow disk is no reason to drop all connections. Before `stop` only.
  void look_alive() const { http_->look_alive(); }

  /// Takes what may change while running: limits, TLS version, certificate files. Nothing changes on an
  /// error.
  Result<void> reload(const ServerSettings& settings);

  /// Takes no more connections, answers whoever waits, finishes what is under way, and leaves everything on
  /// disk.
  void stop();

 private:
  Service(const ServerSettings& settings, const StateFolder& state, const Clock& clock, Logger& logger);
  Result<void> open();
  Result<void> listen();
  void maintain(const std::stop_token& stop);
  void renew_certificate();
  [[nodiscard]] TlsIdentity identity() const;
  [[nodiscard]] Evaluation evaluation();
  [[nodiscard]] std::string why_not_ready() const;

  ServerSettings settings_;
  const StateFolder state_;
  const Clock& clock_;
  Logger& logger_;
  std::mutex settings_mutex_;
  std::atomic<bool> stopping_{false};
  bool stopped_ = false;

  // In the order in which they stand on each other.
  std::optional<os::FileLock> lock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Authority> authority_;
  std::shared_ptr<TicketKeys> ticket_keys_;
  Mailboxes mailboxes_;
  std::unique_ptr<LiveOutput> live_;
  Presence presence_;
  Bell bell_;  ///< of the housekeeper
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<BatchCarrier> carrier_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<Housekeeper> housekeeper_;
  std::jthread maintenance_;
};

}  // namespace agenttask::server

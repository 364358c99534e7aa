#include "server/main/service.hpp"

#include <algorithm>
#include <utility>

#include "platform/base/ids.hpp"
#include "platform/os/host.hpp"
#include "platform/os/memory.hpp"
#include "server/mailboxes/live_output.hpp"

namespace agenttask::server {
namespace {

/// How often certificates and ticket keys are looked at.
constexpr std::chrono::seconds kMaintenance{60};
/// So many connections fewer than at the last look are a wave that left memory behind.
constexpr std::size_t kWave = 500;

}  // namespace

Service::Service(const ServerSettings& settings, const StateFolder& state, const Clock& clock, Logger& logger)
    : settings_(settings),
      state_(state),
      clock_(clock),
      logger_(logger),
      mailboxes_(clock),
      live_(make_live_output(mailboxes_)),
      presence_(clock, logger) {
  presence_.when_changed([this] { bell_.ring(); });
}

Result<std::unique_ptr<Service>> Service::start(const ServerSettings& settings, const StateFolder& state,
                                                const Clock& clock, Logger& logger) {
  if (auto done = check_initialised(state); !done) return done.error();
  std::unique_ptr<Service> service(new Service(settings, state, clock, logger));
  if (auto done = service->open(); !done) return done.error();
  if (auto done = service->listen(); !done) return done.error();
  return service;
}

Service::~Service() {
  stop();
}

Result<void> Service::open() {
  auto lock = os::FileLock::acquire(state_.lock());
  if (!lock) return with_context(lock.error(), "cannot serve from " + state_.folder.string());
  lock_ = std::move(*lock);
  auto store = open_store(state_);
  if (!store) return store.error();
  store_ = std::move(*store);
  auto authority = open_authority(state_, settings_, clock_);
  if (!authority) return authority.error();
  authority_ = std::move(*authority);
  ticket_keys_ = load_ticket_keys(state_, clock_, logger_);
  auto session = store_->write_session();
  if (!session) return session.error();
  writer_ = std::make_unique<Writer>(
      std::move(*session),
      [this](const std::vector<std::string>& keys) {
        mailboxes_.touch(keys);
        bell_.ring();
      },
      logger_, Writer::Settings{}, [this](const std::vector<std::string>& keys) { mailboxes_.join(keys); });
  carrier_ = std::make_unique<BatchCarrier>(*store_, *writer_, clock_, logger_);
  HistoryLimits history;
  history.runs = settings_.keep_runs;
  history.messages.count = settings_.keep_messages;
  router_ = std::make_unique<Router>(ApiContext{.store = *store_,
                                                .presence = presence_,
                                                .live = *live_,
                                                .authority = *authority_,
                                                .clock = clock_,
                                                .logger = logger_,
                                                .why_not_ready = [this] { return why_not_ready(); },
                                                .history = history,
                                                .carry_batches_on = [this] { carrier_->ring(); }});
  return {};
}

Evaluation Service::evaluation() {
  return {.read = [this](const Request& request) { return router_->read(request); },
          .write =
              [this](std::shared_ptr<const Request> request, Evaluation::Done done) {
                return writer_->submit(router_->job(std::move(request), std::move(done))).has_value();
              },
          .gone = [this](const Request& request) { router_->peer_gone(request); }};
}

Result<void> Service::listen() {
  DispatcherOptions options;
  options.readers = settings_.readers;
  options.parked = std::max(options.parked, 2 * settings_.http.connections);
  dispatcher_ = std::make_unique<Dispatcher>(options, evaluation(), mailboxes_, clock_, logger_);
  const HttpServerOptions where{settings_.listen_address, settings_.port, settings_.network_threads,
                                settings_.http};
  auto http = HttpServer::start(where, identity(), ticket_keys_, *dispatcher_, clock_, logger_);
  if (!http) return http.error();
  http_ = std::move(*http);
  RetentionSettings retention;
  retention.ended_tasks = settings_.retention;
  retention.messages = settings_.message_retention;
  retention.runs = settings_.keep_runs;
  auto boot = os::boot_id();
  if (boot.empty()) boot = make_uuid(clock_.wall());
  housekeeper_ = std::make_unique<Housekeeper>(*store_, *writer_, presence_, clock_, logger_, retention,
                                               bell_, std::move(boot));
  housekeeper_->start();
  carrier_->start();
  maintenance_ = std::jthread([this](const std::stop_token& stop) { maintain(stop); });
  os::give_back_memory();  // what the start took
  return {};
}

TlsIdentity Service::identity() const {
  auto shown = authority_->server_identity();
  return {std::move(shown.certificate_pem), std::move(shown.key_pem), authority_->device_authority_pem(),
          settings_.allow_tls12};
}

std::string Service::why_not_ready() const {
  if (stopping_.load()) return "the server stops";
  if (!writer_->healthy()) return "the database can't be written";
  return {};
}

void Service::maintain(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any asked;
  std::unique_lock lock(mutex);
  std::size_t connections = 0;
  while (!asked.wait_for(lock, stop, kMaintenance, [] { return false; }) && !stop.stop_requested()) {
    maintain_ticket_keys(state_, *ticket_keys_, clock_, logger_);
    const auto before = std::exchange(connections, http_->connections());
    if (before >= connections + kWave) os::give_back_memory();
    const std::lock_guard settings(settings_mutex_);
    renew_certificate();
  }
}

void Service::renew_certificate() {
  const auto renewed = authority_->renew_if_due();
  if (!renewed) {
    logger_.error("cannot renew the server's certificate", {{"error", renewed.error().message}});
    return;
  }
  if (!*renewed) return;
  if (const auto taken = http_->use(identity()); !taken) {
    logger_.error("cannot take the renewed certificate", {{"error", taken.error().message}});
  } else {
    logger_.info("the server shows a new certificate");
  }
}

Result<void> Service::reload(const ServerSettings& settings) {
  const std::lock_guard lock(settings_mutex_);
  const auto renewed = authority_->renew_if_due();
  if (!renewed) return renewed.error();
  const bool tls12 = std::exchange(settings_.allow_tls12, settings.allow_tls12);
  if (auto taken = http_->use(identity()); !taken) {
    settings_.allow_tls12 = tls12;
    return taken.error();
  }
  settings_.http = settings.http;
  settings_.stop_grace = settings.stop_grace;
  http_->use(settings.http);
  return {};
}

void Service::stop() {
  if (std::exchange(stopped_, true)) return;
  stopping_.store(true);
  maintenance_ = {};
  if (http_) http_->stop_accepting();
  if (dispatcher_) dispatcher_->release_waiting();
  if (http_) http_->stop(settings_.stop_grace);
  if (dispatcher_) dispatcher_->stop();
  if (carrier_) carrier_->stop();
  housekeeper_.reset();
  if (writer_) writer_->stop();
}

}  // namespace agenttask::server

#include "agent/sync/sync.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "agent/sync/live_sender.hpp"
#include "agent/sync/membership.hpp"
#include "agent/sync/status_board.hpp"
#include "agent/sync/streams.hpp"
#include "platform/base/ids.hpp"

namespace agenttask::agent {

using std::chrono::milliseconds;

namespace {

/// The number of the last run that came before the present one, or before the next where none is under way.
std::int64_t runs_before(Ledger& ledger, std::string_view task_id) {
  const auto task = ledger.get(task_id);
  if (!task) return 0;
  const TaskState& state = task->state;
  return state.run_count - (state.status == TaskStatus::running ? 1 : 0);
}

constexpr milliseconds kLongestWait = std::chrono::hours(1);

SyncOptions with_defaults(SyncOptions options) {
  if (!options.fraction) options.fraction = random_fraction;
  return options;
}

ServerPeer peer_of(const Identity& identity) {
  return {identity.server_url, identity.authority_pem, identity.certificate_pem, identity.key_pem};
}

}  // namespace

class Sync::Body {
 public:
  Body(Ledger& ledger, ServerLink& link, IdentityFolder folder, Follow follow, const Clock& clock,
       Logger& log, SyncOptions options)
      : ledger_(ledger),
        link_(link),
        clock_(clock),
        log_(log),
        options_(with_defaults(std::move(options))),
        board_(clock, log),
        live_([&ledger, follow = std::move(follow)](
                  std::string_view task) { return follow(task, runs_before(ledger, task)); },
              link, clock),
        streams_(ledger, link, clock, log, board_, options_,
                 {.certificate_expired = [this] { membership_.expired(); },
                  .watch = [this](const std::vector<std::string>& tasks) { live_.watch(tasks); },
                  .renamed = [this](const std::string& name) { membership_.renamed(name); }}),
        membership_(
            std::move(folder), link, clock, log, board_, options_,
            {.identity = [this](const Identity* identity, bool renewed) { belongs(identity, renewed); }}),
        subscription_(ledger.subscribe([this](const LedgerChange& change) { changed(change); })) {
    board_.polls_every(options_.poll.interval.count());
  }
  /// What is under way would answer to parts that are gone.
  ~Body() {
    subscription_.reset();
    streams_.leave();
    live_.use(std::nullopt);
    link_.abandon(ServerCall::enroll);
    link_.abandon(ServerCall::renew);
  }
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  milliseconds step(const std::stop_token& stop);
  void ask(const std::function<void()>& note);

  Ledger& ledger_;
  ServerLink& link_;
  const Clock& clock_;
  Logger& log_;
  const SyncOptions options_;
  StatusBoard board_;
  LiveSender live_;
  Streams streams_;
  Membership membership_;

  /// What other threads ask of the owner.
  struct Wishes {
    bool load = true;
    bool retry = false;
    bool reports = false;
    bool hold = false;
    bool health = false;
    std::optional<PollSettings> poll;
    std::optional<WorkerSummary> workers;
  };
  std::mutex mutex_;
  Wishes wishes_;

 private:
  void changed(const LedgerChange& change);
  void belongs(const Identity* identity, bool renewed);
  void carry_out(const Wishes& wishes);
  void load();

  std::shared_ptr<void> subscription_;
};

/// Notes a wish and wakes the owner.
void Sync::Body::ask(const std::function<void()>& note) {
  {
    const std::scoped_lock lock(mutex_);
    note();
  }
  link_.wake();
}

void Sync::Body::changed(const LedgerChange& change) {
  if (!change.reports && !change.hold && !change.health) return;
  ask([&] {
    wishes_.reports |= change.reports;
    wishes_.hold |= change.hold;
    wishes_.health |= change.health;
  });
}

void Sync::Body::belongs(const Identity* identity, bool renewed) {
  if (identity == nullptr) {
    streams_.leave();
    live_.use(std::nullopt);
  } else if (renewed) {
    streams_.renewed(peer_of(*identity));
    live_.use(peer_of(*identity));
  } else {
    live_.use(peer_of(*identity));
    streams_.use(peer_of(*identity), identity->node_id, identity->name);
  }
}

void Sync::Body::load() {
  membership_.load();
  if (!membership_.alone()) return;
  // Tried again at the next start.
  if (const auto left = ledger_.leave_server(); !left)
    log_.warning("cannot note that this device belongs to no server", {{"error", left.error().message}});
}

void Sync::Body::carry_out(const Wishes& wishes) {
  if (wishes.load) load();
  if (wishes.poll) {
    streams_.configure(*wishes.poll);
    board_.polls_every(wishes.poll->interval.count());
  }
  if (wishes.reports) streams_.reports_wait();
  if (wishes.hold || wishes.health) streams_.poll_anew();
  if (wishes.workers) streams_.tell_workers(*wishes.workers);
  if (wishes.retry) {
    streams_.retry_now();
    membership_.retry_now();
  }
}

milliseconds Sync::Body::step(const std::stop_token& stop) {
  Wishes wishes;
  wishes.load = false;
  {
    const std::scoped_lock lock(mutex_);
    std::swap(wishes, wishes_);
  }
  carry_out(wishes);
  const MonotonicTime now = clock_.monotonic();
  membership_.step(now, stop);
  streams_.step(now);
  live_.step(now);
  const MonotonicTime next = std::min({membership_.next(), streams_.next(), live_.next()});
  if (next <= now) return milliseconds(0);
  if (next - now > kLongestWait) return kLongestWait;
  return std::chrono::ceil<milliseconds>(next - now);
}

Sync::Sync(Ledger& ledger, ServerLink& link, IdentityFolder folder, Follow follow, const Clock& clock,
           Logger& log, SyncOptions options)
    : body_(std::make_unique<Body>(ledger, link, std::move(folder), std::move(follow), clock, log,
                                   std::move(options))) {}

Sync::~Sync() = default;

milliseconds Sync::step(const std::stop_token& stop) {
  return body_->step(stop);
}

void Sync::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const milliseconds most = body_->step(stop);
    body_->link_.wait(most, stop);
  }
}

void Sync::wake() {
  body_->ask([this] { body_->wishes_.retry = true; });
}

void Sync::configure(PollSettings settings) {
  body_->ask([&] { body_->wishes_.poll = settings; });
}

void Sync::tell_workers(WorkerSummary workers) {
  body_->ask([&] { body_->wishes_.workers = std::move(workers); });
}

SyncStatus Sync::status() const {
  return body_->board_.status();
}

Result<void> Sync::enroll(std::string_view url, std::string_view token, std::string_view name) {
  if (auto stored = body_->membership_.enroll(url, token, name); !stored) return stored;
  body_->ask([this] { body_->wishes_.load = true; });
  return {};
}

void Sync::cannot_enroll(std::string url, Error why) {
  body_->membership_.cannot_enroll(std::move(url), std::move(why));
  body_->ask([this] { body_->wishes_.load = true; });
}

Result<void> Sync::unenroll() {
  if (auto forgotten = body_->membership_.unenroll(); !forgotten) return forgotten;
  body_->ask([this] { body_->wishes_.load = true; });
  return {};
}

}  // namespace agenttask::agent

#include "agent/sync/status_board.hpp"

#include <utility>

namespace agenttask::agent {
namespace {

std::string_view name_of(Trouble which) {
  switch (which) {
    case Trouble::identity:
      return "identity";
    case Trouble::enrollment:
      return "enrollment";
    case Trouble::ledger:
      return "ledger";
    case Trouble::poll:
      return "poll";
    case Trouble::reports:
      return "reports";
    case Trouble::renewal:
      return "renewal";
  }
  return "poll";
}

}  // namespace

void StatusBoard::belongs(std::string url, std::string node_id, std::string name,
                          std::optional<UnixMilliseconds> certificate_expires, bool enrolling) {
  const std::scoped_lock lock(mutex_);
  const bool same = status_.node_id == node_id && status_.url == url && !node_id.empty();
  status_.url = std::move(url);
  status_.node_id = std::move(node_id);
  status_.name = std::move(name);
  status_.certificate_expires = certificate_expires;
  if (same && status_.state != LinkState::enrolling) return;  // only the certificate is new
  status_.state = !status_.node_id.empty() ? LinkState::connecting
                  : enrolling              ? LinkState::enrolling
                                           : LinkState::not_enrolled;
  if (!same) {
    for (const Trouble which : {Trouble::ledger, Trouble::poll, Trouble::reports, Trouble::renewal}) {
      troubles_[static_cast<std::size_t>(which)].reset();
    }
    status_.last_contact.reset();
    status_.clock_offset.reset();
  }
}

void StatusBoard::was_another(const AdoptedNode& adopted) {
  const std::scoped_lock lock(mutex_);
  status_.former = adopted;
  log_.warning(
      "this device is another node now: tasks of the former one that had not started are cancelled, and its "
      "reports go nowhere",
      {{"node", status_.node_id},
       {"former_node", adopted.former_node},
       {"cancelled", adopted.cancelled},
       {"running", adopted.running},
       {"unreported", adopted.unreported}});
}

void StatusBoard::wishes(std::optional<std::string> url) {
  const std::scoped_lock lock(mutex_);
  troubles_[static_cast<std::size_t>(Trouble::enrollment)].reset();
  status_.enrollment.reset();
  if (url) status_.enrollment = EnrollmentStatus{.url = std::move(*url)};
}

void StatusBoard::contact(UnixMilliseconds server_time) {
  const std::scoped_lock lock(mutex_);
  status_.last_contact = clock_.wall();
  if (server_time > 0) status_.clock_offset = *status_.last_contact - server_time;
}

void StatusBoard::connected() {
  const std::scoped_lock lock(mutex_);
  if (status_.state == LinkState::connected) return;
  status_.state = LinkState::connected;
  log_.info("connected to the server", {{"server", status_.url}, {"node", status_.node_id}});
}

void StatusBoard::trouble(Trouble which, const CallFailure& failure,
                          std::optional<MonotonicTime> next_attempt) {
  const std::scoped_lock lock(mutex_);
  std::optional<UnixMilliseconds> next;
  if (next_attempt) {
    next = clock_.wall() +
           std::chrono::duration_cast<std::chrono::milliseconds>(*next_attempt - clock_.monotonic()).count();
  }
  if (which == Trouble::poll) {
    status_.state = failure.refused ? LinkState::refused : LinkState::disconnected;
  }
  if (which == Trouble::enrollment && status_.enrollment) {
    status_.enrollment->error = failure.message;
    status_.enrollment->refused = !next_attempt;
    if (!next_attempt && status_.node_id.empty()) status_.state = LinkState::refused;
  }
  keep(which, failure, next);
}

void StatusBoard::note(Trouble which, const CallFailure& failure) {
  const std::scoped_lock lock(mutex_);
  keep(which, failure, std::nullopt);
}

void StatusBoard::keep(Trouble which, const CallFailure& failure,
                       std::optional<UnixMilliseconds> next_attempt) {
  auto& entry = troubles_[static_cast<std::size_t>(which)];
  const bool known = entry && entry->failure.code == failure.code;
  entry = Entry{failure, clock_.wall(), next_attempt};
  log_.write(known ? LogLevel::debug : LogLevel::warning, "trouble with the server",
             {{"with", name_of(which)},
              {"code", failure.code},
              {"error", failure.message},
              {"server", status_.url}});
}

void StatusBoard::fine(Trouble which) {
  const std::scoped_lock lock(mutex_);
  troubles_[static_cast<std::size_t>(which)].reset();
}

void StatusBoard::polls_every(DurationMilliseconds interval) {
  const std::scoped_lock lock(mutex_);
  status_.poll_interval = interval;
}

SyncStatus StatusBoard::status() const {
  const std::scoped_lock lock(mutex_);
  SyncStatus status = status_;
  for (const auto& entry : troubles_) {
    if (!entry) continue;
    status.last_error = entry->failure.message;
    status.last_error_code = entry->failure.code;
    status.last_error_time = entry->since;
    status.next_attempt = entry->next_attempt;
    break;
  }
  return status;
}

}  // namespace agenttask::agent

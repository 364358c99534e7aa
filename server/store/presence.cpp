#include "server/store/presence.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

namespace agenttask::server {
namespace {

std::chrono::milliseconds pace_of(Presence::Dear what) {
  return what == Presence::Dear::epoch ? std::chrono::seconds(10) : std::chrono::minutes(1);
}

}  // namespace

void Presence::seen(std::string_view node_id, MonotonicTime request,
                    std::optional<UnixMilliseconds> device_time) {
  const UnixMilliseconds now = clock_.wall();
  std::unique_lock lock(mutex_);
  Entry& entry = entries_.try_emplace(std::string(node_id)).first->second;
  entry.last_seen = now;
  entry.last_heard = clock_.monotonic();
  if (request >= entry.request) {
    entry.request = request;
    entry.gone = false;
  }
  const bool first = change(entry);
  if (device_time) compare_clocks(node_id, entry, *device_time - now);
  lock.unlock();
  tell(first);
}

void Presence::compare_clocks(std::string_view node_id, Entry& entry, DurationMilliseconds offset) {
  entry.clock_offset = offset;
  const bool differs = std::abs(*entry.clock_offset) > kOffsetWarning;
  if (differs && !entry.warned) {
    logger_.warning(
        "a device's clock differs from the server's; set it right, or schedules run at other times",
        {{"node", node_id}, {"offset_ms", *entry.clock_offset}});
  }
  entry.warned = differs;
}

void Presence::heard(std::string_view node_id) {
  const UnixMilliseconds now = clock_.wall();
  std::unique_lock lock(mutex_);
  Entry& entry = entries_.try_emplace(std::string(node_id)).first->second;
  entry.last_seen = now;
  entry.last_heard = clock_.monotonic();
  const bool first = change(entry);
  lock.unlock();
  tell(first);
}

void Presence::gone(std::string_view node_id, MonotonicTime request) {
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(node_id);
  if (found != entries_.end() && found->second.request <= request) found->second.gone = true;
}

void Presence::forget(std::string_view node_id) {
  const std::scoped_lock lock(mutex_);
  if (const auto found = entries_.find(node_id); found != entries_.end()) entries_.erase(found);
  for (const Dear what : {Dear::epoch, Dear::certificate, Dear::words})
    got_.erase({std::string(node_id), what});
}

std::chrono::milliseconds Presence::wait_before(std::string_view node_id, Dear what) const {
  const std::scoped_lock lock(mutex_);
  const auto last = got_.find({std::string(node_id), what});
  if (last == got_.end()) return {};
  const auto left = last->second + pace_of(what) - clock_.monotonic();
  return std::max(std::chrono::ceil<std::chrono::milliseconds>(left), std::chrono::milliseconds(0));
}

void Presence::got(std::string_view node_id, Dear what) {
  const std::scoped_lock lock(mutex_);
  got_.insert_or_assign({std::string(node_id), what}, clock_.monotonic());
}

bool Presence::refuse_name(std::string_view node_id) {
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(node_id);
  return found != entries_.end() && !std::exchange(found->second.name_refused, true);
}

bool Presence::online(std::string_view node_id) const {
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(node_id);
  return found != entries_.end() && !found->second.gone &&
         clock_.monotonic() - found->second.last_heard <= kOnlineFor;
}

void Presence::fill(NodeRecord& node) const {
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(node.id);
  if (found == entries_.end()) return;
  node.last_seen = found->second.last_seen;
  if (found->second.clock_offset) node.clock_offset = found->second.clock_offset;
}

bool Presence::change(Entry& entry) {
  entry.changed = true;
  return !std::exchange(changed_, true);
}

void Presence::tell(bool first) const {
  if (first && listener_) listener_();
}

bool Presence::has_changed() const {
  const std::scoped_lock lock(mutex_);
  return changed_;
}

std::vector<Presence::Seen> Presence::take_changed() {
  std::vector<Seen> changed;
  const std::scoped_lock lock(mutex_);
  changed_ = false;
  for (auto& [node_id, entry] : entries_) {
    if (!std::exchange(entry.changed, false)) continue;
    changed.push_back({node_id, entry.last_seen, entry.clock_offset});
  }
  return changed;
}

}  // namespace agenttask::server

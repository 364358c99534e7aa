#include "agent/sync/live_sender.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kRhythm{100};
constexpr milliseconds kAfterFailure{1'000};
constexpr milliseconds kAnswerTime{10'000};

}  // namespace

LiveSender::LiveSender(Follow follow, ServerLink& link, const Clock& clock)
    : follow_(std::move(follow)), link_(link), clock_(clock) {}

void LiveSender::use(std::optional<ServerPeer> peer) {
  peer_ = std::move(peer);
  link_.abandon(ServerCall::output);
  open_ = false;
  if (!peer_) followers_.clear();
}

void LiveSender::watch(const std::vector<std::string>& tasks) {
  std::map<std::string, std::unique_ptr<Follower>> wanted;
  for (const auto& task : tasks) {
    if (const auto found = followers_.find(task); found != followers_.end()) {
      wanted.emplace(task, std::move(found->second));
    } else if (auto follower = follow_(task)) {
      wanted.emplace(task, *std::move(follower));
    }
  }
  followers_ = std::move(wanted);
  next_ = MonotonicTime::min();
}

void LiveSender::step(MonotonicTime now) {
  if (!peer_ || open_ || now < next_ || followers_.empty()) return;
  next_ = now + kRhythm;
  // In turns: one that prints without end must not hide the others.
  auto at = followers_.upper_bound(last_);
  for (std::size_t i = 0; i < followers_.size() && !open_; ++i, ++at) {
    if (at == followers_.end()) at = followers_.begin();
    if (at->second != nullptr && !send_from(at->first, *at->second)) at->second.reset();
  }
}

MonotonicTime LiveSender::next() const {
  const bool any = std::any_of(followers_.begin(), followers_.end(),
                               [](const auto& entry) { return entry.second != nullptr; });
  return peer_ && !open_ && any ? next_ : MonotonicTime::max();
}

/// False: there will be nothing more of this task.
bool LiveSender::send_from(const std::string& task_id, Follower& follower) {
  const auto output = follower.next(milliseconds(0), {});
  if (!output) return false;
  if (!output->chunks.empty()) {
    nlohmann::json body = {{"taskId", task_id}, {"run", output->run}, {"chunks", nlohmann::json::array()}};
    for (const auto& chunk : output->chunks) body["chunks"].push_back(chunk_to_json(chunk));
    open_ = true;
    last_ = task_id;
    link_.start(ServerCall::output, *peer_, encode_json(body), kAnswerTime,
                [this, task_id](const net::HttpResult& result) { sent(task_id, result); });
  }
  return !output->task_ended;
}

void LiveSender::sent(const std::string& task_id, const net::HttpResult& result) {
  open_ = false;
  if (!result || !result->ok()) {
    next_ = clock_.monotonic() + kAfterFailure;
    return;
  }
  const auto answer = parse_json(result->body);
  const bool watched = !answer || !answer->is_object() ||
                       answer->value("watched", nlohmann::json(true)) != nlohmann::json(false);
  if (const auto found = followers_.find(task_id); !watched && found != followers_.end())
    found->second.reset();
}

}  // namespace agenttask::agent

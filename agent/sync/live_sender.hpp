#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/runner/follower.hpp"
#include "agent/sync/server_link.hpp"
#include "platform/base/clock.hpp"

namespace agenttask::agent {

/// Sends the output of watched tasks as it comes, beside the streams and best effort: what is lost here comes
/// with the run's end. Costs nothing while nobody watches. Threads: one owner.
class LiveSender {
 public:
  /// Follows a task from its present run on: what came before is in the streams.
  using Follow = std::function<Result<std::unique_ptr<Follower>>(std::string_view task_id)>;

  LiveSender(Follow follow, ServerLink& link, const Clock& clock);

  void use(std::optional<ServerPeer> peer);
  void watch(const std::vector<std::string>& tasks);
  void step(MonotonicTime now);
  [[nodiscard]] MonotonicTime next() const;

 private:
  bool send_from(const std::string& task_id, Follower& follower);
  void sent(const std::string& task_id, const net::HttpResult& result);

  Follow follow_;
  ServerLink& link_;
  const Clock& clock_;
  std::optional<ServerPeer> peer_;
  std::map<std::string, std::unique_ptr<Follower>> followers_;  ///< null: nothing (more) to follow
  std::string last_;  ///< the task that was sent last: the others come first
  bool open_ = false;
  MonotonicTime next_ = MonotonicTime::min();
};

}  // namespace agenttask::agent

#include "server/mailboxes/live_output.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

namespace agenttask::server {
namespace {

/// What it takes in memory: a chunk of one byte is no byte.
std::size_t size_of(const LiveChunk& chunk) {
  return sizeof(chunk) + chunk.chunk.bytes.size();
}

/// What one follower has not taken yet. Threads: the hub writes, the follower reads.
class Queue {
 public:
  void add(const std::vector<LiveChunk>& chunks) {
    const std::lock_guard lock(mutex_);
    for (const auto& chunk : chunks) {
      bytes_ += size_of(chunk);
      chunks_.push_back(chunk);
    }
    while (bytes_ > kFollowerBytes && chunks_.size() > 1) {
      bytes_ -= size_of(chunks_.front());
      chunks_.pop_front();
    }
  }

  std::vector<LiveChunk> take() {
    const std::lock_guard lock(mutex_);
    std::vector<LiveChunk> taken(std::make_move_iterator(chunks_.begin()),
                                 std::make_move_iterator(chunks_.end()));
    chunks_.clear();
    bytes_ = 0;
    return taken;
  }

 private:
  std::mutex mutex_;
  std::deque<LiveChunk> chunks_;
  std::size_t bytes_ = 0;
};

/// Shared with the followers, so that one that outlives the hub finds it.
class Hub : public std::enable_shared_from_this<Hub> {
 public:
  explicit Hub(Mailboxes& mailboxes) : mailboxes_(mailboxes) {}

  void add(const std::string& node_id, const std::string& task_id, const std::shared_ptr<Queue>& queue) {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      auto& followers = nodes_[node_id][task_id];
      first = followers.empty();
      followers.insert(queue);
    }
    if (first) mailboxes_.touch("node:" + node_id);
  }

  void remove(const std::string& node_id, const std::string& task_id, const std::shared_ptr<Queue>& queue) {
    {
      const std::lock_guard lock(mutex_);
      const auto node = nodes_.find(node_id);
      const auto task = node->second.find(task_id);
      task->second.erase(queue);
      if (!task->second.empty()) return;
      node->second.erase(task);
      if (node->second.empty()) nodes_.erase(node);
    }
    mailboxes_.touch("node:" + node_id);
  }

  [[nodiscard]] std::vector<std::string> watched(std::string_view node_id) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> tasks;
    if (const auto node = nodes_.find(node_id); node != nodes_.end()) {
      for (const auto& [task, followers] : node->second) tasks.push_back(task);
    }
    return tasks;
  }

  bool publish(std::string_view node_id, std::string_view task_id, const std::vector<LiveChunk>& chunks) {
    {
      const std::lock_guard lock(mutex_);
      const auto node = nodes_.find(node_id);
      if (node == nodes_.end()) return false;
      const auto task = node->second.find(task_id);
      if (task == node->second.end()) return false;
      for (const auto& queue : task->second) queue->add(chunks);
    }
    if (!chunks.empty()) mailboxes_.touch("output:" + std::string(task_id));
    return true;
  }

 private:
  using Followers = std::set<std::shared_ptr<Queue>>;
  using Tasks = std::map<std::string, Followers, std::less<>>;

  Mailboxes& mailboxes_;
  mutable std::mutex mutex_;
  std::map<std::string, Tasks, std::less<>> nodes_;
};

class Follower final : public OutputFollower {
 public:
  Follower(std::shared_ptr<Hub> hub, std::string_view node_id, std::string_view task_id)
      : hub_(std::move(hub)), node_id_(node_id), task_id_(task_id) {
    hub_->add(node_id_, task_id_, queue_);
  }
  ~Follower() override { hub_->remove(node_id_, task_id_, queue_); }
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  std::vector<LiveChunk> take() override { return queue_->take(); }

 private:
  std::shared_ptr<Hub> hub_;
  std::string node_id_;
  std::string task_id_;
  std::shared_ptr<Queue> queue_ = std::make_shared<Queue>();
};

class InMemory final : public LiveOutput {
 public:
  explicit InMemory(Mailboxes& mailboxes) : hub_(std::make_shared<Hub>(mailboxes)) {}

  std::unique_ptr<OutputFollower> follow(std::string_view node_id, std::string_view task_id) override {
    return std::make_unique<Follower>(hub_, node_id, task_id);
  }
  [[nodiscard]] std::vector<std::string> watched(std::string_view node_id) const override {
    return hub_->watched(node_id);
  }
  bool publish(std::string_view node_id, std::string_view task_id, std::vector<LiveChunk> chunks) override {
    return hub_->publish(node_id, task_id, chunks);
  }

 private:
  std::shared_ptr<Hub> hub_;
};

}  // namespace

std::unique_ptr<LiveOutput> make_live_output(Mailboxes& mailboxes) {
  return std::make_unique<InMemory>(mailboxes);
}

}  // namespace agenttask::server

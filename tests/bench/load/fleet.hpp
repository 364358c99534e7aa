#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "tests/bench/load/device.hpp"

namespace agenttask::bench {

/// Many devices in one process, and what was seen of them.
class Fleet final : DeviceWatcher {
 public:
  using Done = std::function<void(nlohmann::json)>;
  using Delivered = std::function<void(const TaskSpec& task, Time time)>;

  Fleet(EventLoop& loop, const TlsClient& tls, std::uint16_t port);
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  /// Enrols `count` further devices with a token of so many uses, over `connections` connections, each with a
  /// key of its own.
  void enroll(std::size_t count, const std::string& token, std::size_t connections, Done done);
  /// Has the first `count` devices connect, `in_flight` at a time, to `port`, and says so once all hold a
  /// poll.
  void hold(std::size_t count, std::size_t in_flight, std::uint16_t port, bool mute, Done done);
  /// Says so once so many hold a poll: for devices that come back by themselves.
  void await_holding(std::size_t count, Done done);
  /// All go, and stay away; `forget`: with no session to resume, as if they had never been here.
  void drop(bool forget);
  /// Says so once so many ends of tasks were stored by the server, in all.
  void await_stored(std::int64_t ends, std::function<void()> done);
  /// Is told of each task that reaches a device; nobody else is.
  void on_delivered(Delivered delivered) { delivered_ = std::move(delivered); }

  /// All counts since the start, or since `clear`.
  [[nodiscard]] nlohmann::json counts() const;
  void clear_counts();
  [[nodiscard]] std::size_t size() const { return devices_.size(); }
  [[nodiscard]] const std::string& node(std::size_t index) const { return devices_[index]->node(); }
  [[nodiscard]] std::int64_t stored() const { return stored_; }
  void set_wait(std::int64_t milliseconds) { surroundings_.wait = milliseconds; }

 private:
  void holds(Device& device) override;
  void released(Device& device) override;
  void lost(Device& device, const Answer& answer, bool held) override;
  void delivered(Device& device, const TaskSpec& task, Time time) override;
  void stored(Device& device, std::int64_t ends) override;
  void wrong(Device& device, std::string_view what) override;
  void start_more();
  void look_whether_all_hold();

  EventLoop& loop_;
  Handshakes handshakes_;
  DeviceSurroundings surroundings_;
  std::vector<std::unique_ptr<Device>> devices_;
  // hold(): who is next, and up to whom.
  std::size_t next_ = 0;
  std::size_t last_ = 0;
  std::size_t under_way_ = 0;
  std::size_t in_flight_ = 0;
  std::size_t holding_ = 0;
  std::size_t wanted_holding_ = 0;
  Done all_hold_;
  Time begun_{};

  std::int64_t wanted_stored_ = 0;
  std::function<void()> all_stored_;
  Delivered delivered_;

  std::unordered_set<std::string> tasks_;
  std::int64_t deliveries_ = 0;
  std::int64_t twice_ = 0;
  std::int64_t stored_ = 0;
  std::map<std::string, std::int64_t> problems_;  ///< calls that failed, by why
  std::map<std::string, std::int64_t> wrongs_;
};

}  // namespace agenttask::bench

#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "platform/base/backoff.hpp"
#include "platform/protocol/chain.hpp"
#include "platform/protocol/message.hpp"
#include "tests/bench/load/https_connection.hpp"

namespace agenttask::bench {

class Device;

/// What becomes of devices, for whoever drives them.
class DeviceWatcher {
 public:
  virtual void holds(Device& device) = 0;  ///< a poll that the server may hold was sent, and none was before
  virtual void released(Device& device) = 0;  ///< its poll was answered before its time; it asks again soon
  /// A call failed; it is tried again. `held`: a poll was held until then.
  virtual void lost(Device& device, const Answer& answer, bool held) = 0;
  /// A task arrived; its run ends at once.
  virtual void delivered(Device& device, const TaskSpec& task, Time time) = 0;
  virtual void stored(Device& device, std::int64_t ends) = 0;     ///< so many ends were acknowledged
  virtual void wrong(Device& device, std::string_view what) = 0;  ///< what no server of ours may do

 protected:
  ~DeviceWatcher() = default;
};

/// What all devices share. All that is referred to outlives them.
struct DeviceSurroundings {
  EventLoop& loop;
  const TlsClient& tls;
  Handshakes& handshakes;
  DeviceWatcher& watcher;
  std::uint16_t port = 0;
  std::int64_t wait = 55'000;  ///< milliseconds the server may hold a poll
  bool mute = false;           ///< sends one poll and expects nothing: for servers that are not ours
};

/// A device as docs/protocol.md has it, without a disk: it polls, takes its directives, says of each task
/// that it began and ended, and comes back by the same rules as the agent when its server was away.
class Device {
 public:
  Device(DeviceSurroundings& surroundings, std::string node, std::string name, TlsIdentity identity);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void hold();  ///< connects and stays
  /// Closes its connections and stays away; `forget`: also its session, so that the next handshake is a full
  /// one.
  void drop(bool forget);
  [[nodiscard]] const std::string& node() const { return node_; }
  [[nodiscard]] bool holding() const { return holding_; }

 private:
  void poll();
  void poll_mutely();
  void polled(const Answer& answer, Time sent);
  void begin_epoch(std::int64_t epoch);
  [[nodiscard]] bool take(const PollAnswer& answer, Time time);
  void run(const TaskSpec& task, UnixMilliseconds add_time);
  void queue(Report report);
  void send_reports(HttpsConnection& over, bool poll_afterwards);
  void reported(const Answer& answer, const Cursor& end, std::size_t lines, bool poll_afterwards);
  void failed(const Answer& answer);
  void poll_after(Milliseconds time);
  [[nodiscard]] HttpsConnection& reports_connection();
  /// Runs `action` unless the device was dropped, or lost its connection, meanwhile.
  template <class Action>
  [[nodiscard]] auto while_here(Action action) {
    return [this, life = life_, action = std::move(action)](auto&&... values) {
      if (life == life_) action(std::forward<decltype(values)>(values)...);
    };
  }

  struct Waiting {
    std::string line;
    bool is_end;
  };

  DeviceSurroundings& surroundings_;
  std::string node_;
  std::string name_;
  std::string incarnation_;
  TlsIdentity identity_;
  HttpsConnection polls_;
  std::unique_ptr<HttpsConnection> reports_;
  Backoff backoff_;
  std::int64_t epoch_ = 0;
  Cursor directives_;
  Cursor acknowledged_;
  Cursor newest_;
  std::deque<Waiting> outbox_;
  std::uint32_t life_ = 0;
  bool wanted_ = false;
  bool answered_ = false;
  bool holding_ = false;
  bool reporting_ = false;
};

}  // namespace agenttask::bench

#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/log.hpp"
#include "server/store/records.hpp"

namespace agenttask::server {

/// When each device was last heard of. Kept in memory and flushed by housekeeping, so that an idle poll costs
/// no fsync; after a crash `lastSeen` may be some seconds old until the device comes again, which is at once.
/// Threads: any.
class Presence {
 public:
  /// What costs the server much, however little it costs the device: each has a pace.
  enum class Dear : std::uint8_t {
    epoch,        ///< a new epoch, in which all tasks of the device are queued again
    certificate,  ///< a renewed certificate, which is kept until it ends
    words,        ///< other words for a problem of its ledger that is known, which are written down
  };

  /// A device that has not been heard of for so long is offline: the longest poll and some.
  static constexpr std::chrono::milliseconds kOnlineFor{limits::kWaitMost + 20'000};
  /// Clocks that differ by more get a warning, once until they agree again.
  static constexpr DurationMilliseconds kOffsetWarning = 30'000;

  Presence(const Clock& clock, Logger& logger) : clock_(clock), logger_(logger) {}

  /// A poll of this device came in or is answered. `device_time` is its wall clock, when it said so.
  void seen(std::string_view node_id, MonotonicTime request,
            std::optional<UnixMilliseconds> device_time = {});
  /// Something else came from it. Whether it is still there is its polls' to say: reports arrive beside them.
  void heard(std::string_view node_id);
  /// The peer of the request that was received then went away while its poll was parked: offline, unless it
  /// was heard of in a later request.
  void gone(std::string_view node_id, MonotonicTime request);
  void forget(std::string_view node_id);
  /// The device asked for a name that it can't have. True the first time: then it is worth a line in the log.
  [[nodiscard]] bool refuse_name(std::string_view node_id);

  /// How long the device has to wait before it gets the next; zero: no longer.
  [[nodiscard]] std::chrono::milliseconds wait_before(std::string_view node_id, Dear what) const;
  void got(std::string_view node_id, Dear what);

  [[nodiscard]] bool online(std::string_view node_id) const;
  /// What is known here, laid over what the row says.
  void fill(NodeRecord& node) const;

  /// Calls `listener` when something changes and nothing had since take_changed. Before any other thread.
  void when_changed(std::function<void()> listener) { listener_ = std::move(listener); }
  [[nodiscard]] bool has_changed() const;

  struct Seen {
    std::string node_id;
    UnixMilliseconds last_seen = 0;
    std::optional<DurationMilliseconds> clock_offset;
  };
  /// What has changed since the last call.
  [[nodiscard]] std::vector<Seen> take_changed();

 private:
  struct Entry {
    UnixMilliseconds last_seen = 0;
    MonotonicTime last_heard;
    MonotonicTime request;  ///< when the latest request arrived
    std::optional<DurationMilliseconds> clock_offset;
    bool gone = false;
    bool changed = false;
    bool warned = false;
    bool name_refused = false;
  };
  /// True when it is the first change.
  [[nodiscard]] bool change(Entry& entry);
  void tell(bool first) const;
  void compare_clocks(std::string_view node_id, Entry& entry, DurationMilliseconds offset);

  const Clock& clock_;
  Logger& logger_;
  std::function<void()> listener_;
  bool changed_ = false;
  mutable std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::pair<std::string, Dear>, MonotonicTime> got_;
};

}  // namespace agenttask::server

#pragma once
#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

namespace agenttask::server {

/// The keys that session tickets are sealed with. They are kept in the state folder, so that devices resume
/// their sessions after a restart: a full handshake with a client certificate costs about twice as much.
///
/// A key seals for `kKeyLife` and opens for as long again; then it is forgotten, which bounds what a stolen
/// key can open. Threads: any.
class TicketKeys {
 public:
  static constexpr DurationMilliseconds kKeyLife = 24LL * 3600 * 1000;
  struct Key {
    std::array<unsigned char, 16> name;
    std::array<unsigned char, 32> cipher;
    std::array<unsigned char, 32> mac;
    UnixMilliseconds made;
  };
  struct Found {
    Key key;
    bool current;  ///< false: the peer should get a new ticket
  };

  /// No keys yet: `rotate` makes the first.
  TicketKeys() = default;
  /// What `encode` wrote; `corrupt` when it is not that.
  static Result<std::unique_ptr<TicketKeys>> decode(std::string_view bytes);
  [[nodiscard]] std::string encode() const;

  /// Makes a new key when the present one is too old, and forgets those that are past use. True when
  /// something changed and has to be kept.
  bool rotate(UnixMilliseconds now);

  [[nodiscard]] std::optional<Key> current() const;
  [[nodiscard]] std::optional<Found> find(std::string_view name) const;

 private:
  mutable std::mutex mutex_;
  std::vector<Key> keys_;  // newest first
};

}  // namespace agenttask::server

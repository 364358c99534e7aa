#pragma once
#include <optional>
#include <stop_token>

#include "platform/os/posix/descriptor.hpp"

namespace agenttask::os {

/// Makes a stop token something that poll can wait for. Private to platform/os.
class StopSignal {
 public:
  explicit StopSignal(const std::stop_token& stop);

  [[nodiscard]] bool requested() const { return stop_.stop_requested(); }
  /// Becomes readable at a stop; -1 (which poll skips) where none is possible or no descriptor was left.
  [[nodiscard]] int descriptor() const { return event_.get(); }
  /// Whether the token has to be looked at from time to time, as there is no descriptor for it.
  [[nodiscard]] bool needs_looking() const { return stop_.stop_possible() && !event_.is_open(); }

 private:
  struct Raise {
    int descriptor;
    void operator()() const;
  };
  std::stop_token stop_;
  Descriptor event_;
  std::optional<std::stop_callback<Raise>> callback_;  // last: it goes first, and uses the descriptor
};

}  // namespace agenttask::os

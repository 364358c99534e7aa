#pragma once
#include <functional>
#include <optional>
#include <stop_token>
#include <windows.h>

#include "platform/os/windows/handle.hpp"

namespace agenttask::os {

/// An event of the system's that a stop token sets, to wait for with others. Private to platform/os/windows.
class StopEvent {
 public:
  explicit StopEvent(const std::stop_token& stop) : event_(::CreateEventW(nullptr, TRUE, FALSE, nullptr)) {
    if (stop.stop_possible()) callback_.emplace(stop, Raise{event_.get()});
  }

  [[nodiscard]] HANDLE get() const { return event_.get(); }
  [[nodiscard]] bool requested() const { return ::WaitForSingleObject(event_.get(), 0) == WAIT_OBJECT_0; }

 private:
  struct Raise {
    HANDLE event;
    void operator()() const { ::SetEvent(event); }
  };
  Handle event_;
  std::optional<std::stop_callback<Raise>> callback_;  // the last: it goes before the event does
};

}  // namespace agenttask::os

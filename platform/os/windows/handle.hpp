#pragma once
#include <utility>
#include <windows.h>

namespace agenttask::os {

/// Owns a kernel handle. Private to platform/os/windows.
class Handle {
 public:
  Handle() = default;
  /// Null and INVALID_HANDLE_VALUE are no handles: both ways in which calls say that they failed.
  explicit Handle(HANDLE value) : value_(value == INVALID_HANDLE_VALUE ? nullptr : value) {}
  Handle(Handle&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) {
      close();
      value_ = std::exchange(other.value_, nullptr);
    }
    return *this;
  }
  ~Handle() { close(); }

  [[nodiscard]] HANDLE get() const { return value_; }
  [[nodiscard]] bool is_open() const { return value_ != nullptr; }
  void close() {
    if (value_ != nullptr) ::CloseHandle(std::exchange(value_, nullptr));
  }

 private:
  HANDLE value_ = nullptr;
};

}  // namespace agenttask::os

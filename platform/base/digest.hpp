#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace agenttask {

/// SHA-256 of bytes that come piece by piece, for files that are too large to hold. Threads: one at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void add(std::string_view bytes);
  /// 32 raw bytes. Nothing can be added afterwards.
  [[nodiscard]] std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace agenttask

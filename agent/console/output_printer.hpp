#pragma once
#include <cstdint>
#include <map>

#include "agent/console/screen.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::console {

/// Prints the output of a task byte for byte as it comes, standard output to standard output and standard
/// error to standard error, and says on standard error where something is missing. Threads: one owner.
class OutputPrinter {
 public:
  explicit OutputPrinter(const Screen& screen) : screen_(screen) {}
  /// False when nobody reads it any more.
  bool print(std::int64_t run, const OutputChunk& chunk);
  /// Bytes that were not there to be printed.
  [[nodiscard]] std::int64_t missing() const { return missing_; }

 private:
  const Screen& screen_;
  std::int64_t run_ = 0;
  std::map<OutputStream, std::int64_t> next_;  ///< of this run: the offset that should come
  std::int64_t missing_ = 0;
};

}  // namespace agenttask::console

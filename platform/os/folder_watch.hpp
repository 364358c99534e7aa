#pragma once
#include <chrono>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <vector>

#include "platform/base/error.hpp"

namespace agenttask::os {

/// Tells when something in a set of folders changes, without looking again and again: an entry appears, goes,
/// is renamed, written and closed, or gets other rights. Folders within are watched where they are named too.
/// Threads: one owner.
class FolderWatch {
 public:
  /// `unsupported` where the system can't, `unavailable` where it has no watch left.
  [[nodiscard]] static Result<std::unique_ptr<FolderWatch>> create();
  ~FolderWatch();
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

  /// These from now on, and of the folders in which `files` are, only what concerns these. What is not there
  /// is waited for: its appearance is a change. `unavailable` when not all of them can be watched.
  [[nodiscard]] Result<void> watch(const std::vector<std::filesystem::path>& folders,
                                   const std::vector<std::filesystem::path>& files = {});

  enum class Event { changed, quiet, stopped };
  /// Waits for a change, at most `at_most` (zero: for ever). Many changes may count as one.
  [[nodiscard]] Event wait(std::chrono::milliseconds at_most, const std::stop_token& stop);

 private:
  struct State;
  explicit FolderWatch(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace agenttask::os

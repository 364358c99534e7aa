#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "platform/base/error.hpp"

namespace agenttask::agent {

/// Output of one stream of a run, in a file while the run lasts: its head, a ring with its tail, and how much
/// there was in all. A crash of the agent loses nothing of it; its size is bounded whatever the output.
///
/// Threads: one at a time. Crash: what append() took is in the system's cache, so it survives kill -9, not
/// power loss.
class Spool {
 public:
  /// How much of the end is there for whoever watches live, even where less is kept.
  static constexpr std::int64_t kLiveBytes = 1024 * 1024;

  /// Makes the file anew; `keep` bytes are kept, the first half as head, the second as tail.
  [[nodiscard]] static Result<std::unique_ptr<Spool>> create(const std::filesystem::path& file,
                                                             std::int64_t keep);
  /// Opens one that was made and has taken nothing yet, for writing: who reopened it reads what comes now.
  [[nodiscard]] static Result<std::unique_ptr<Spool>> begin(const std::filesystem::path& file);
  /// Opens what a crash left, for reading.
  [[nodiscard]] static Result<std::unique_ptr<Spool>> reopen(const std::filesystem::path& file);

  /// Of a run that writes nothing: there is no file, and what it takes it only counts.
  [[nodiscard]] static std::unique_ptr<Spool> none();

  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// Of one that was reopened while another process writes it: takes in what came meanwhile. False: nothing.
  bool refresh();
  /// Takes more output. Where the disk fails it only counts from then on.
  void append(std::string_view bytes);
  /// How many bytes came in all.
  [[nodiscard]] std::int64_t total() const { return total_; }
  /// Whether what is kept is not all of it.
  [[nodiscard]] bool truncated() const { return written_ < total_ || total_ > keep_; }

  struct Piece {
    std::int64_t offset = 0;  ///< where it begins; past what was asked for if that is not there any more
    std::string bytes;
  };
  /// What is there at `offset` or after it, at most `most` bytes without a gap; empty at the end.
  [[nodiscard]] Piece read(std::int64_t offset, std::size_t most);
  /// The same of what is to be kept when the run has ended: head and tail, both cut between characters of
  /// UTF-8.
  [[nodiscard]] Piece read_kept(std::int64_t offset, std::size_t most);

 private:
  struct Close {
    void operator()(std::FILE* file) const {
      std::fclose(file);  // NOLINT(cppcoreguidelines-owning-memory): this is how the owner ends it
    }
  };
  using File = std::unique_ptr<std::FILE, Close>;
  Spool(File file, std::int64_t keep);

  bool read_header();
  [[nodiscard]] Piece read_now(std::int64_t offset, std::size_t most);
  [[nodiscard]] std::int64_t head() const { return keep_ / 2; }
  [[nodiscard]] std::int64_t tail_begin() const;
  [[nodiscard]] Piece read_between(std::int64_t offset, std::int64_t end, std::size_t most);
  bool write_at(std::int64_t position, const void* bytes, std::size_t count);
  bool read_at(std::int64_t position, void* bytes, std::size_t count);
  bool write_header(std::int64_t pending);
  bool write_bytes(std::int64_t offset, std::string_view bytes);
  [[nodiscard]] std::int64_t position_of(std::int64_t offset) const;

  File file_;
  std::int64_t keep_;
  std::int64_t ring_;
  std::int64_t total_ = 0;
  std::int64_t written_ = 0;  ///< less than `total_` once the disk failed
  std::int64_t overwritten_ =
      0;  ///< more than `written_` where a write was cut off: the ring holds its bytes
  bool broken_ = false;
  bool reopened_ = false;  ///< perhaps another process goes on writing
};

}  // namespace agenttask::agent

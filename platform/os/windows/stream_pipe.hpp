#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/os/process.hpp"
#include "platform/os/windows/handle.hpp"

/// The streams between us and a child. Named pipes, as only these can be waited for; their names can't be
/// guessed, nobody but us and administrators may open them, and both ends are taken before anybody hears of
/// them. Private to platform/os/windows. Threads: one.
namespace agenttask::os {

struct StreamEnds {
  Handle ours;    ///< overlapped; not inherited
  Handle childs;  ///< as any program expects it; inherited
};
enum class StreamDirection { to_child, from_child };
[[nodiscard]] Result<StreamEnds> open_stream(StreamDirection direction);
/// What reads as an end of file at once.
[[nodiscard]] Result<Handle> open_nothing();

/// Reads what a child writes, one buffer at a time.
class OutputPipe {
 public:
  explicit OutputPipe(Handle ours);
  ~OutputPipe();
  OutputPipe(const OutputPipe&) = delete;
  OutputPipe& operator=(const OutputPipe&) = delete;

  [[nodiscard]] bool is_open() const { return ours_.is_open(); }
  /// Asks for bytes unless that was done already. Closes the pipe at its end.
  void begin();
  /// Set when there are bytes, or the end.
  [[nodiscard]] HANDLE event() const { return event_.get(); }
  /// What came, if anything; closes the pipe at its end. The view holds until `begin`.
  [[nodiscard]] std::string_view take();

 private:
  Handle ours_;
  Handle event_;
  OVERLAPPED operation_{};
  bool pending_ = false;
  std::vector<char> buffer_;
};

/// The bytes on their way to a child's standard input.
class InputPipe final : public ProcessInput {
 public:
  /// One that is not open takes nothing.
  InputPipe(Handle ours, std::string_view first);
  ~InputPipe() override;
  InputPipe(const InputPipe&) = delete;
  InputPipe& operator=(const InputPipe&) = delete;

  Result<void> write(std::string_view bytes) override;
  void close() override;
  /// Set when the child took what was under way; null: nothing is.
  [[nodiscard]] HANDLE event() const { return pending_ ? event_.get() : nullptr; }
  /// Goes on with what waits.
  void advance();

 private:
  void finish_operation(bool wait);

  Handle ours_;
  Handle event_;
  OVERLAPPED operation_{};
  bool pending_ = false;
  bool closing_ = false;
  std::string sending_;  ///< the system reads it while `pending_`
  std::string waiting_;
};

}  // namespace agenttask::os

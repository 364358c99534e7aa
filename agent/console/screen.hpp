#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace agenttask::console {

/// What a word on the screen means; terminals that may be coloured show it.
enum class Color : std::uint8_t { none, good, bad, busy, faint };

/// Where the console prints. Results go to standard output, progress and errors to standard error.
/// Threads: one owner.
class Screen {
 public:
  /// What is a terminal, how wide it is, and whether it may be coloured (NO_COLOR, TERM=dumb).
  static Screen of_this_process();
  Screen(bool output_is_terminal, bool errors_are_terminal, std::size_t width, bool color)
      : output_is_terminal_(output_is_terminal),
        errors_are_terminal_(errors_are_terminal),
        width_(width),
        color_(color) {}

  [[nodiscard]] bool output_is_terminal() const { return output_is_terminal_; }
  [[nodiscard]] bool errors_are_terminal() const { return errors_are_terminal_; }
  /// Columns of the terminal on standard output; 0 where it is none: nothing is cut then.
  [[nodiscard]] std::size_t width() const { return width_; }
  [[nodiscard]] bool color() const { return color_; }
  /// `text` in that colour where the screen may be coloured.
  [[nodiscard]] std::string paint(Color color, std::string_view text) const;

  /// Bytes to standard output or standard error as they are, at once. False when nobody reads them any more.
  bool print(std::string_view bytes) const;
  bool print_error(std::string_view bytes) const;
  /// One line on standard error: `agenttask: …`. Made printable.
  void say(std::string_view message) const;

 private:
  bool output_is_terminal_;
  bool errors_are_terminal_;
  std::size_t width_;
  bool color_;
};

}  // namespace agenttask::console

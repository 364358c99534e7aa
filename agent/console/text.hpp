#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace agenttask::console {

/// `text` as it may stand in one line on a terminal: control characters, escapes, line breaks, marks that
/// turn the direction of writing, and bytes that are not UTF-8 are written out (`\x1b`), so that a name or a
/// message can't move the cursor, change the title or hide what it says. Raw output of commands never comes
/// through here.
[[nodiscard]] std::string printable(std::string_view text);

/// The same, but line breaks and tabs stay: for text of several lines.
[[nodiscard]] std::string printable_lines(std::string_view text);

/// How many columns of a terminal `text` takes: wide characters two, combining ones none. `text` is
/// printable().
[[nodiscard]] std::size_t display_width(std::string_view text);

/// The beginning of `text` in at most `columns`, ended by `…` where something was cut. `text` is printable().
[[nodiscard]] std::string shorten(std::string_view text, std::size_t columns);

/// As a word of a shell's line: in single quotes where it holds more than letters, digits and `_-.,:=@%+/`.
[[nodiscard]] std::string shell_quoted(std::string_view text);

}  // namespace agenttask::console

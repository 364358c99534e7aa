#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace agenttask {

/// A position in one of the two streams between server and device (contract section 7). `chain` is 64
/// hexadecimal digits, a running hash over all lines up to there; empty at sequence 0, before the first.
struct Cursor {
  std::int64_t sequence = 0;
  std::string chain;
  bool operator==(const Cursor&) const = default;
};

/// The cursor after one more line: SHA-256(raw bytes of the chain so far, then the line without its newline).
/// Each side computes it from what it received or wrote and believes nothing else.
[[nodiscard]] Cursor advance(const Cursor& cursor, std::string_view line);

}  // namespace agenttask

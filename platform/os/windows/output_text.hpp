#pragma once
#include <string>
#include <string_view>

namespace agenttask::os {

/// Turns what a program writes to one stream into UTF-8. Programs of a console write text in its code page
/// (dir of a cmd.exe, say, in 850), others write UTF-8, others bytes that are no text at all. A stream is
/// - UTF-8 as long as it is well-formed, and passes as it is;
/// - from its first byte that is none: text in the code page, where what has come so far and what comes with
///   that byte holds nothing that text does not have (a NUL or another control byte than those of layout and
///   colour);
/// - otherwise, and from a first NUL on, bytes, which pass as they are.
/// What it was taken for once, it stays. At most three bytes of an unfinished character are held back.
/// Private to platform/os/windows.
class OutputText {
 public:
  /// `code_page` as GetOEMCP gives it; 65001 (UTF-8): nothing is ever converted.
  explicit OutputText(unsigned code_page) : code_page_(code_page) {}

  [[nodiscard]] std::string take(std::string_view bytes);
  /// What was held back: the stream has ended.
  [[nodiscard]] std::string finish();

 private:
  enum class Kind { utf8, code_page, bytes };
  std::string convert(std::string bytes, bool last);

  const unsigned code_page_;
  Kind kind_ = Kind::utf8;
  bool has_control_ = false;  ///< what came so far is UTF-8, but no text
  std::string held_;
};

}  // namespace agenttask::os

#include "platform/os/windows/output_text.hpp"

#include <algorithm>
#include <utility>
#include <windows.h>

#include "platform/base/encoding.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

bool is_no_text(char byte) {
  const auto value = static_cast<unsigned char>(byte);
  if (value >= 0x20) return value == 0x7F;
  // bell, backspace, tab, newline, page, return, escape; and the end of file that DOS programs still write
  return std::string_view("\a\b\t\n\v\f\r\x1b\x1a").find(byte) == std::string_view::npos;
}

bool holds_no_text(std::string_view bytes) {
  return std::any_of(bytes.begin(), bytes.end(), is_no_text);
}

/// Whether the last byte is the first half of a character of a code page that has such.
bool ends_in_half(unsigned code_page, std::string_view bytes) {
  bool half = false;
  for (const char byte : bytes) half = !half && ::IsDBCSLeadByteEx(code_page, static_cast<BYTE>(byte)) != 0;
  return half;
}

}  // namespace

std::string OutputText::take(std::string_view bytes) {
  std::string all = std::exchange(held_, {});
  all += bytes;
  if (kind_ == Kind::bytes) return all;
  if (kind_ == Kind::code_page) return convert(std::move(all), false);
  const std::size_t whole = all.size() - incomplete_utf8_tail(all);
  if (is_utf8(std::string_view(all).substr(0, whole))) {
    if (all.find('\0') != std::string::npos) {
      kind_ = Kind::bytes;
      return all;
    }
    has_control_ = has_control_ || holds_no_text(all);
    held_ = all.substr(whole);
    all.resize(whole);
    return all;
  }
  const bool convertible = code_page_ != CP_UTF8 && !has_control_ && !holds_no_text(all);
  kind_ = convertible ? Kind::code_page : Kind::bytes;
  return convertible ? convert(std::move(all), false) : all;
}

std::string OutputText::finish() {
  std::string rest = std::exchange(held_, {});
  if (rest.empty() || kind_ == Kind::bytes) return rest;
  // A beginning of UTF-8 that nothing followed.
  if (kind_ == Kind::utf8 && (code_page_ == CP_UTF8 || has_control_)) return rest;
  return convert(std::move(rest), true);
}

std::string OutputText::convert(std::string bytes, bool last) {
  if (!last && ends_in_half(code_page_, bytes)) {
    held_ = bytes.back();
    bytes.pop_back();
  }
  if (bytes.empty()) return bytes;
  const int size = static_cast<int>(bytes.size());
  const int units = ::MultiByteToWideChar(code_page_, 0, bytes.data(), size, nullptr, 0);
  if (units <= 0) return bytes;
  std::wstring wide(static_cast<std::size_t>(units), L'\0');
  ::MultiByteToWideChar(code_page_, 0, bytes.data(), size, wide.data(), units);
  return to_utf8(wide);
}

}  // namespace agenttask::os

#include "platform/os/windows/output_text.hpp"

#include <gtest/gtest.h>

namespace agenttask::os {
namespace {

constexpr unsigned kWestern = 850;
constexpr unsigned kJapanese = 932;
constexpr unsigned kUtf8 = 65'001;

std::string all(OutputText& text, std::string_view bytes) {
  const std::string begin = text.take(bytes);
  return begin + text.finish();
}

std::string byte_by_byte(OutputText& text, std::string_view bytes) {
  std::string result;
  for (const char byte : bytes) result += text.take({&byte, 1});
  return result + text.finish();
}

TEST(OutputText, LeavesUtf8AsItIs) {
  OutputText text(kWestern);
  EXPECT_EQ(all(text, "plain\r\n"), "plain\r\n");
  OutputText other(kWestern);
  EXPECT_EQ(byte_by_byte(other, "é 日 😀\n"), "é 日 😀\n");
}

TEST(OutputText, TurnsTheCodePageIntoUtf8) {
  OutputText text(kWestern);
  EXPECT_EQ(all(text, "caf\x82 \x84\x94\x81\r\n"), "café äöü\r\n");
  OutputText slowly(kWestern);
  EXPECT_EQ(byte_by_byte(slowly,
                         "caf\x82 Stra\xe1"
                         "e"),
            "café Straße");
  OutputText colours(kWestern);
  EXPECT_EQ(all(colours, "\x1b[1mfett\x1b[0m \x81"), "\x1b[1mfett\x1b[0m ü");
}

TEST(OutputText, AnUnfinishedCharacterAtTheEndIsTheCodePages) {
  OutputText text(kWestern);
  EXPECT_EQ(text.take("Stra\xe1"), "Stra");
  EXPECT_EQ(text.finish(), "ß");
}

TEST(OutputText, PutsTheHalvesOfACharacterTogether) {
  const std::string_view nihon = "\x93\xfa\x96\x7b";  // Japan, in Shift JIS
  OutputText whole(kJapanese);
  EXPECT_EQ(all(whole, nihon), "日本");
  OutputText slowly(kJapanese);
  EXPECT_EQ(byte_by_byte(slowly, nihon), "日本");
}

TEST(OutputText, BytesSurvive) {
  const std::string picture("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
  OutputText text(kWestern);
  EXPECT_EQ(all(text, picture), picture);
  // What is no text from the beginning is none later.
  OutputText later(kWestern);
  EXPECT_EQ(later.take(std::string_view("MZ\0\x03", 4)), std::string_view("MZ\0\x03", 4));
  EXPECT_EQ(later.take("\x82"), "\x82");
  OutputText control(kWestern);
  EXPECT_EQ(control.take("a\x01"), "a\x01");
  EXPECT_EQ(control.take("\x82"), "\x82");
}

TEST(OutputText, WhereTheMachineSpeaksUtf8NothingIsConverted) {
  OutputText text(kUtf8);
  EXPECT_EQ(all(text, "caf\x82"), "caf\x82");
}

}  // namespace
}  // namespace agenttask::os

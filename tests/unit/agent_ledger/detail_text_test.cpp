#include "agent/ledger/detail_text.hpp"

#include <gtest/gtest.h>

#include "platform/base/encoding.hpp"

namespace agenttask::agent {
namespace {

TEST(DetailText, KeepsWhatFits) {
  EXPECT_EQ("", to_detail(""));
  EXPECT_EQ("a \u2603", to_detail("a \u2603"));
  const std::string full(kDetailBytes, 'x');
  EXPECT_EQ(full, to_detail(full));
}

TEST(DetailText, CutsBetweenCharactersAndSaysSo) {
  std::string text;
  for (std::size_t i = 0; i < kDetailBytes; ++i) text += "\u20ac";
  const std::string detail = to_detail(text);
  EXPECT_LE(detail.size(), kDetailBytes);
  EXPECT_TRUE(is_utf8(detail));
  EXPECT_EQ(" ...", detail.substr(detail.size() - 4));
  EXPECT_EQ(kDetailBytes, to_detail(std::string(kDetailBytes + 1, 'x')).size());
}

TEST(DetailText, BytesThatAreNoTextDoNotGetThrough) {
  EXPECT_EQ("no ? file", to_detail("no \xff file"));
}

}  // namespace
}  // namespace agenttask::agent

#include "platform/base/path_text.hpp"

#include <string>

#include <gtest/gtest.h>

namespace agenttask {
namespace {

TEST(PathText, SaysWhatItWasMadeOf) {
  for (const std::string text : {"", "a", "grüße/世界", "😀.json"}) {
    auto path = to_path(text);
    EXPECT_EQ(path.generic_string(), text);
  }
}

TEST(PathText, HasTheCharactersOfTheText) {
  EXPECT_TRUE(to_path("grüße").u8string() == u8"grüße");
  EXPECT_TRUE((to_path("世") / to_path("界")).generic_u8string() == u8"世/界");
}

TEST(PathText, TakesBytesThatAreNoText) {
  EXPECT_FALSE(to_path("a\xff").empty());
}

}  // namespace
}  // namespace agenttask

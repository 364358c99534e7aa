#include "platform/base/error_text.hpp"

#include <gtest/gtest.h>

namespace agenttask {
namespace {

TEST(ErrorText, NamesTheFieldOnce) {
  EXPECT_EQ(with_field("", "it is too long"), "it is too long");
  EXPECT_EQ(with_field("timeout", "it is too long"), "timeout: it is too long");
  EXPECT_EQ(with_field("timeout", "timeout is too long"), "timeout is too long");
  EXPECT_EQ(with_field("data.cwd", "the folder in data.cwd is missing"), "the folder in data.cwd is missing");
  EXPECT_EQ(with_field("timeout", "too long: timeout"), "too long: timeout");
  EXPECT_EQ(with_field("timeout", ""), "timeout: ");
}

TEST(ErrorText, APartOfAWordIsNotTheField) {
  EXPECT_EQ(with_field("id", "this is invalid"), "id: this is invalid");
  EXPECT_EQ(with_field("id", "invalid; an id is a UUID"), "invalid; an id is a UUID");
  EXPECT_EQ(with_field("tag", "a tag-list holds tags"), "tag: a tag-list holds tags");
}

}  // namespace
}  // namespace agenttask

#include "platform/protocol/json.hpp"

#include <cmath>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"

namespace agenttask {
namespace {

std::string round_trip(const std::string& text) {
  const auto value = parse_json(text);
  return value ? encode_json(*value) : "refused: " + value.error().message;
}

TEST(ParseJson, GivesBackExactlyWhatItTook) {
  for (const char* text : {R"({"a":[1,-1,true,false,null,"x",{}]})", "9007199254740993",
                           "-9223372036854775808", "18446744073709551615", "0.1", "-0.5", "5e-324",
                           "1.7976931348623157e+308", "\"\xF0\x9F\x98\x80\"", "[]", "\"\""}) {
    EXPECT_EQ(round_trip(text), text);
  }
}

TEST(ParseJson, TakesOtherSpellingsOfTheSameDouble) {
  EXPECT_EQ(round_trip("0.10000000000000001"), "0.1");  // as %.17g prints it
  EXPECT_EQ(round_trip("1e2"), "100.0");
  EXPECT_EQ(round_trip("0.1000000000000000055511151231257827"), "0.1");  // the double's own digits
  EXPECT_EQ(round_trip("0.0"), "0.0");
  EXPECT_EQ(round_trip("1.50"), "1.5");
}

// Rounded to as many digits, 2^-44 is …801e-14, which means another double.
TEST(ParseJson, TakesTheUsualSpellingOfEachDouble) {
  EXPECT_EQ(round_trip("5.684341886080802e-14"), "5.684341886080802e-14");
  EXPECT_EQ(round_trip("5.6843418860808015e-14"), "5.684341886080802e-14");
  for (int exponent = -1074; exponent < 1024; ++exponent) {
    const nlohmann::json value = std::ldexp(1.0, exponent);
    const auto again = parse_json(encode_json(value));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again, value);
  }
}

TEST(ParseJson, RefusesNumbersItCannotKeep) {
  for (const char* text : {"18446744073709551616", "-9223372036854775809", "9007199254740993.0", "1e400",
                           "1e-400", "3.14159265358979323846", "0.123456789012345678901"}) {
    const auto value = parse_json(text);
    ASSERT_TRUE(value.has_error()) << text;
    EXPECT_EQ(value.error().code, ErrorCode::invalid);
    EXPECT_NE(value.error().message.find("string"), std::string::npos) << value.error().message;
  }
  EXPECT_TRUE(parse_json(std::string(5000, '1') + ".5").has_error());
}

TEST(ParseJson, RefusesWhatIsNotOneDocument) {
  for (const char* text : {"",    " ",       "{",        "[1,]",         "{\"a\":1}}",       "1 2",
                           "nul", "NaN",     "Infinity", "{'a':1}",      "\"\\ud800\"",      "\"\x01\"",
                           "[1",  "// c\n1", "\"\xFF\"", "\"\xC0\x80\"", "\"\xED\xA0\x80\"", "01",
                           "+1",  ".5",      "1."}) {
    const auto value = parse_json(text);
    ASSERT_TRUE(value.has_error()) << text;
    EXPECT_EQ(value.error().code, ErrorCode::invalid) << text;
  }
}

TEST(ParseJson, ReadsPastAZeroByte) {
  using namespace std::string_view_literals;
  for (const auto text : {"{}\0"sv, "{\"a\":1}\0{\"a\":2}"sv, "\0"sv, "[1,\0]"sv, "\"\0\""sv}) {
    const auto value = parse_json(text);
    ASSERT_TRUE(value.has_error());
    EXPECT_EQ(value.error().code, ErrorCode::invalid);
  }
}

// A message that is not UTF-8 could not be sent on.
TEST(ParseJson, QuotesWholeCharacters) {
  for (const std::size_t before : {54U, 55U, 56U, 57U, 197U, 198U, 199U, 200U}) {
    const std::string key = std::string(before, 'x') + "\u00e4\U0001F600" + std::string(20, 'y');
    const auto value = parse_json("{\"" + key + "\":1,\"" + key + "\":2}");
    ASSERT_TRUE(value.has_error());
    EXPECT_TRUE(is_utf8(value.error().message)) << value.error().message;
    EXPECT_TRUE(is_utf8(value.error().field)) << value.error().field;
  }
}

TEST(ParseJson, NamesADuplicateKey) {
  const auto value = parse_json(R"({"a":1,"b":{"c":1,"c":2}})");
  ASSERT_TRUE(value.has_error());
  EXPECT_EQ(value.error().field, "c");
}

TEST(ParseJson, HoldsTheDepthLimit) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(parse_json(nested(limits::kJsonDepth)).has_value());
  const auto deeper = parse_json(nested(limits::kJsonDepth + 1));
  ASSERT_TRUE(deeper.has_error());
  EXPECT_EQ(deeper.error().code, ErrorCode::limit);
  EXPECT_TRUE(parse_json(nested(1'000'000)).has_error());
}

TEST(MergeKeys, ReplacesAndRemoves) {
  auto target = *parse_json(R"({"keep":1,"replace":{"x":1},"remove":2})");
  merge_keys(target, *parse_json(R"({"replace":{"y":2},"remove":null,"new":[],"absent":null})"));
  EXPECT_EQ(encode_json(target), R"({"keep":1,"new":[],"replace":{"y":2}})");
}

}  // namespace
}  // namespace agenttask

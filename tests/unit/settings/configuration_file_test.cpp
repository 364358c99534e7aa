#include "platform/settings/configuration_file.hpp"

#include <gmock/gmock.h>

namespace agenttask::settings {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

Result<std::vector<ConfigurationEntry>> parse(std::string_view text) {
  return parse_configuration("x.conf", text);
}

/// The values of a file of one line.
std::vector<std::string> values(const std::string& line) {
  const auto entries = parse(line);
  EXPECT_TRUE(entries) << line << ": " << entries.error().message;
  if (!entries) return {"error"};
  EXPECT_EQ(entries->size(), 1U) << line;
  return entries->empty() ? std::vector<std::string>{"nothing"} : entries->front().values;
}

std::string problem(std::string_view text) {
  const auto entries = parse(text);
  return entries ? "none" : entries.error().message;
}

TEST(ConfigurationFile, HasOneEntryALine) {
  const auto entries =
      parse("# first\n\n  slots=2\r\n\tlog-level = debug  # more\n; old style\nname =\nlast = x");
  ASSERT_TRUE(entries) << entries.error().message;
  ASSERT_EQ(entries->size(), 4U);
  EXPECT_EQ(entries->at(0).name, "slots");
  EXPECT_THAT(entries->at(0).values, ElementsAre("2"));
  EXPECT_EQ(entries->at(0).line, 3U);
  EXPECT_EQ(entries->at(1).name, "log-level");
  EXPECT_THAT(entries->at(1).values, ElementsAre("debug"));
  EXPECT_EQ(entries->at(1).line, 4U);
  EXPECT_THAT(entries->at(2).values, ElementsAre(""));
  EXPECT_EQ(entries->at(3).line, 7U);
  EXPECT_EQ(parse("\"name\" = a")->front().name, "name");
  EXPECT_EQ(parse("a.b. = 1")->front().name, "a.b.") << "taken apart by nobody";
  EXPECT_THAT(*parse(""), IsEmpty());
  EXPECT_THAT(*parse("\n\n# nothing"), IsEmpty());
}

TEST(ConfigurationFile, TakesQuotesOffWholeValues) {
  EXPECT_THAT(values("certificate = \"/etc/x y.pem\""), ElementsAre("/etc/x y.pem"));
  EXPECT_THAT(values("certificate = '/x'"), ElementsAre("/x"));
  EXPECT_THAT(values("name = \"\""), ElementsAre(""));
  EXPECT_THAT(values("name = \" a # b, c \"  # d"), ElementsAre(" a # b, c "));
  EXPECT_THAT(values("name = \"it's\""), ElementsAre("it's"));
  EXPECT_THAT(values("name = \"[a]\""), ElementsAre("[a]"));
  EXPECT_THAT(values("\"name\" = \"a\""), ElementsAre("a"));
}

TEST(ConfigurationFile, LeavesPlainValuesAsTheyAre) {
  EXPECT_THAT(values("name = my old laptop"), ElementsAre("my old laptop"));
  EXPECT_THAT(values("name = Ann's laptop # hers"), ElementsAre("Ann's laptop"));
  EXPECT_THAT(values("host = a, b"), ElementsAre("a, b"));
  EXPECT_THAT(values("private-key = /x#y=z"), ElementsAre("/x#y=z"));
  EXPECT_THAT(values("listen = [::1]:8443"), ElementsAre("[::1]:8443"));
  EXPECT_THAT(values("listen = [::1]"), ElementsAre("::1"));
  EXPECT_THAT(values("listen = ::"), ElementsAre("::"));
}

TEST(ConfigurationFile, TakesListsInBracketsOrQuotes) {
  EXPECT_THAT(values("host = [\"a\", 'b', c]"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(values("host = \"a\", \"b\" # c"), ElementsAre("a", "b"));
  EXPECT_THAT(values("host = [\"a\"]"), ElementsAre("a"));
  EXPECT_THAT(values("host = []"), IsEmpty());
}

TEST(ConfigurationFile, NamesTheLineThatIsWrong) {
  EXPECT_EQ(problem("a = 1\nport 1\n"), "x.conf line 2: expected a line as \"name = value\"");
  EXPECT_THAT(problem("= 1"), HasSubstr("line 1: expected a line"));
  EXPECT_THAT(problem("xy\n"), HasSubstr("line 1: expected a line"));
  EXPECT_EQ(problem("\n[section]\na = 1\n"),
            "x.conf line 2: the section [section] is not known: there are none");
  EXPECT_EQ(problem("aa = 1\nbb = 2\naa = 3\n"), "x.conf line 3: aa was given before");
  EXPECT_THAT(problem("\"aa\" = 1\naa = 3\n"), HasSubstr("given before"));
  EXPECT_THAT(problem(std::string_view("aa = 1\0x", 8)), HasSubstr("line 1: a control character"));
  EXPECT_THAT(problem("aa = 1\x1b[2J"), HasSubstr("line 1: a control character"));
}

TEST(ConfigurationFile, RefusesQuotesThatDoNotMatch) {
  for (const char* bad :
       {"name = \"x", "name = 'x", "name = \"x'", "name = \"a\" b", "name = \"a\"\"b\"", "name = \"",
        "name = [\"a]", "name = [\"a\" \"b\"]", "name = [a\"b\"]", "name = \"a\\\"b\""}) {
    EXPECT_THAT(problem(bad), HasSubstr("line 1: expected quotation marks around whole values")) << bad;
  }
}

TEST(ConfigurationFile, HasALargestSize) {
  EXPECT_EQ(problem("#" + std::string(kConfigurationBytes - 1, 'x')), "none");
  EXPECT_THAT(problem("#" + std::string(kConfigurationBytes, 'x')), StartsWith("x.conf: more than"));
  EXPECT_EQ(problem(std::string(kConfigurationBytes, '[')),
            "x.conf line 1: expected a line as \"name = value\"");
}

TEST(ConfigurationFile, ValuesAreReadAsTheyAreWritten) {
  for (const std::string value : {"a", "a, b", " a", "a ", "a # b", "#", "\"", "'a'", "\"a\"", "[a]",
                                  "[::1]:8443", "it's \"so\"", "a=b", ";", "[", "\\", "x#'\"", "[#'\""}) {
    EXPECT_THAT(values("name = " + configuration_value(value)), ElementsAre(value));
  }
}

}  // namespace
}  // namespace agenttask::settings

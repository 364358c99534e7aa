#include "platform/settings/setting_table.hpp"

#include <CLI/CLI.hpp>
#include <gmock/gmock.h>

#include "platform/settings/values.hpp"

namespace agenttask::settings {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Values {
  std::int64_t slots = 0;
  std::string name;
  std::string token;
  std::vector<std::string> hosts;
  std::string color = {};
};

const SettingTable<Values>& table() {
  static const SettingTable<Values> all(
      {"program --help", "PROGRAM_"},
      {{{.name = "slots", .value = "N", .standard = "8", .help = "Tasks that run at once", .reloads = true},
        [](Values& v, std::string_view t) { return assign(parse_number(t, 1, 9), v.slots); },
        [](const Values& v) { return std::to_string(v.slots); }},
       {{.name = "long-name", .value = "NAME", .help = "What it is called"},
        [](Values& v, std::string_view t) { return assign(parse_text(t, 20), v.name); },
        [](const Values& v) { return v.name; }},
       {{.name = "token", .value = "TOKEN", .help = "A secret", .secret = true, .spared = true},
        [](Values& v, std::string_view t) { return assign(parse_text(t, 20), v.token); },
        [](const Values& v) { return v.token; }},
       {{.name = "host", .value = "NAMES", .help = "Names", .list = true, .alias = "also"},
        [](Values& v, std::string_view t) { return assign(parse_list(t), v.hosts); },
        [](const Values& v) { return list_text(v.hosts); }},
       {{.name = "color", .value = "NAME", .standard = "red", .help = "A color, or none"},
        [](Values& v, std::string_view t) { return assign(parse_text(t, 20), v.color); },
        [](const Values& v) { return v.color; }}});
  return all;
}

struct SettingTableTest : testing::Test {
  std::map<std::string, std::string> environment;
  Sources sources{"x.conf",
                  {},
                  [this](const std::string& name) -> std::optional<std::string> {
                    const auto found = environment.find(name);
                    if (found == environment.end()) return std::nullopt;
                    return found->second;
                  },
                  {}};

  std::string problem() const {
    const auto values = table().read(sources);
    return values ? "none" : values.error().message;
  }
  /// What CLI11 says about these arguments; empty: nothing.
  std::string parse(std::vector<std::string> arguments) {
    CLI::App app("test", "program");
    table().add_flags(app, sources.flags);
    std::reverse(arguments.begin(), arguments.end());
    try {
      app.parse(arguments);
    } catch (const CLI::ParseError& error) {
      return error.what();
    }
    return {};
  }
};

TEST_F(SettingTableTest, EachSourceOverridesTheOneBefore) {
  EXPECT_EQ(table().read(sources)->slots, 8);
  sources.configuration = "slots = 2\nlong-name = \"from the file\"\nhost = [\"a\", \"b\"]\n";
  EXPECT_EQ(table().read(sources)->slots, 2);
  environment = {{"PROGRAM_SLOTS", "3"}};
  EXPECT_EQ(table().read(sources)->slots, 3);
  sources.flags = {{"slots", "4"}};
  const auto values = table().read(sources);
  EXPECT_EQ(values->slots, 4);
  EXPECT_EQ(values->name, "from the file");
  EXPECT_THAT(values->hosts, ElementsAre("a", "b"));
}

TEST_F(SettingTableTest, ErrorsNameSourceAndSetting) {
  sources.configuration = "\nslots = 10\n";
  EXPECT_EQ(problem(), "x.conf line 2: slots: expected a whole number from 1 to 9");
  EXPECT_EQ(table().read(sources).error().field, "slots");
  sources.configuration = "slotz = 1\n";
  EXPECT_EQ(problem(), "x.conf line 1: there is no setting \"slotz\"; `program --help` lists them");
  sources.configuration = "a.slots = 1\n";
  EXPECT_THAT(problem(), HasSubstr("there is no setting \"a.slots\""));
  sources.configuration = "also = a\n";
  EXPECT_THAT(problem(), HasSubstr("there is no setting"));
  sources.configuration = "slots = [1, 2]\n";
  EXPECT_EQ(problem(), "x.conf line 1: slots takes one value");
  sources.configuration.clear();
  environment = {{"PROGRAM_SLOTS", "0"}};
  EXPECT_EQ(problem(), "environment PROGRAM_SLOTS: expected a whole number from 1 to 9");
  environment.clear();
  sources.flags = {{"long-name", "123456789012345678901"}};
  EXPECT_EQ(problem(), "--long-name: expected at most 20 bytes");
  sources.flags = {{"long-name", std::string("a\0b", 3)}};
  EXPECT_EQ(problem(), "--long-name: a zero byte in it");
}

TEST_F(SettingTableTest, WhatIsSparedIsToldAndEmpty) {
  const std::string long_one(21, 't');
  sources.configuration = "token = good\nslots = 2\n";
  environment = {{"PROGRAM_TOKEN", long_one}};
  EXPECT_EQ(problem(), "environment PROGRAM_TOKEN: expected at most 20 bytes") << "where nobody asks for it";
  SettingProblems spared;
  auto values = table().read(sources, &spared);
  ASSERT_TRUE(values) << values.error().message;
  EXPECT_EQ(values->token, "") << "not what the file said";
  EXPECT_EQ(values->slots, 2);
  ASSERT_EQ(spared.size(), 1U);
  EXPECT_EQ(spared.at("token").message, "environment PROGRAM_TOKEN: expected at most 20 bytes");
  // A flag makes up for it, a bad file does not matter then.
  sources.configuration = "token = [a, b]\n";
  values = table().read(sources, &spared);
  EXPECT_EQ(spared.size(), 1U);
  sources.flags = {{"token", "better"}};
  values = table().read(sources, &spared);
  ASSERT_TRUE(values);
  EXPECT_EQ(values->token, "better");
  EXPECT_TRUE(spared.empty());
  sources.configuration = "slots = 10\n";
  EXPECT_FALSE(table().read(sources, &spared)) << "the others are errors";
}

TEST_F(SettingTableTest, FlagsCarryTheirValues) {
  EXPECT_EQ(parse({"--slots", "5", "--host", "a,b", "--also", "c", "--long-name", ""}), "");
  EXPECT_EQ(sources.flags.at("slots"), "5");
  EXPECT_EQ(sources.flags.at("host"), "a,b,c");
  EXPECT_EQ(sources.flags.at("long-name"), "");
  EXPECT_FALSE(sources.flags.contains("token"));
  EXPECT_NE(parse({"--slots", "5", "--slots", "6"}), "");
  EXPECT_NE(parse({"--slots"}), "");
  EXPECT_NE(parse({"--host", "a", "b"}), "");
  EXPECT_NE(parse({"--bogus", "1"}), "");
}

TEST_F(SettingTableTest, AnEmptyFlagIsAValue) {
  EXPECT_EQ(parse({"--slots", ""}), "");
  EXPECT_EQ(problem(), "--slots: expected a whole number from 1 to 9");
}

TEST_F(SettingTableTest, HelpNamesDefaultAndVariable) {
  const auto& all = table().settings();
  EXPECT_EQ(table().flag_help(all[0]), "Tasks that run at once (default 8) [PROGRAM_SLOTS]");
  EXPECT_EQ(table().flag_help(all[1]), "What it is called [PROGRAM_LONG_NAME]");
}

TEST_F(SettingTableTest, WhatIsDescribedCanBeReadAgainAndHasNoSecrets) {
  sources.flags = {{"long-name", " a # b"}, {"token", "secret"}, {"host", "a,b"}};
  const auto first = table().read(sources);
  ASSERT_TRUE(first);
  EXPECT_EQ(table().describe(*first),
            "slots = 8\nlong-name = \" a # b\"\n# token = (set, not shown)\nhost = a, b\ncolor = red\n");
  EXPECT_THAT(table().describe(Values()), HasSubstr("# long-name =\n"));
  sources.flags = {{"token", "secret"}};
  sources.configuration = table().describe(*first);
  const auto again = table().read(sources);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(table().describe(*again), table().describe(*first));
}

// Nothing in place of a default is something: as a comment it would be the default again.
TEST_F(SettingTableTest, NothingInPlaceOfADefaultIsShown) {
  sources.flags = {{"color", ""}};
  const auto none = table().read(sources);
  ASSERT_TRUE(none);
  EXPECT_THAT(table().describe(*none), HasSubstr("\ncolor =\n"));
  sources.flags = {};
  sources.configuration = table().describe(*none);
  EXPECT_EQ(table().read(sources)->color, "");
}

TEST_F(SettingTableTest, SaysWhatNeedsARestart) {
  const Values before{8, "a", "t", {}};
  EXPECT_THAT(table().need_restart(before, {9, "a", "t", {}}), IsEmpty());
  EXPECT_THAT(table().need_restart(before, {9, "b", "u", {"h"}}), ElementsAre("long-name", "token", "host"));
}

}  // namespace
}  // namespace agenttask::settings

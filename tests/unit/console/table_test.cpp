#include "agent/console/table.hpp"

#include <gtest/gtest.h>

namespace agenttask::console {
namespace {

const Screen kPlain(false, false, 0, false);

TEST(Table, AlignsColumnsAndEndsNoLineWithBlanks) {
  Table table({{"NAME"}, {"RUNS", false, true}, {"WHAT"}});
  table.add({Cell("a"), Cell("1"), Cell("x")});
  table.add({Cell("bbbbbb"), Cell("20000"), Cell("")});
  EXPECT_EQ(table.render(kPlain),
            "NAME     RUNS  WHAT\n"
            "a           1  x\n"
            "bbbbbb  20000\n");
}

TEST(Table, ShrinksTheWidestThatMay) {
  Table table({{"ID"}, {"WHAT", true}});
  table.add({Cell("0123456789"), Cell("a long description of it")});
  EXPECT_EQ(table.render(Screen(true, true, 24, false)),
            "ID          WHAT\n"
            "0123456789  a long desc…\n");
}

TEST(Table, NeverShrinksBelowWhatCanBeRead) {
  Table table({{"ID"}, {"WHAT", true}});
  table.add({Cell("0123456789"), Cell("abcdefghijkl")});
  EXPECT_EQ(table.render(Screen(true, true, 5, false)),
            "ID          WHAT\n"
            "0123456789  abcdefg…\n");
}

TEST(Table, MakesCellsPrintable) {
  Table table({{"NAME"}});
  table.add({Cell("\x1b[2J\nrm")});
  EXPECT_EQ(table.render(kPlain), "NAME\n\\x1b[2J\\nrm\n");
}

TEST(Table, ColoursOnlyWhereTheScreenMay) {
  Table table({{"S"}});
  table.add({Cell("ok", Color::good)});
  EXPECT_EQ(table.render(kPlain), "S\nok\n");
  EXPECT_EQ(table.render(Screen(true, true, 80, true)), "\x1b[2mS\x1b[0m\n\x1b[32mok\x1b[0m\n");
}

TEST(Fields, AlignsValuesLeavesOutEmptyOnesAndIndentsLines) {
  Fields fields;
  fields.add("Task", "1");
  fields.add("Nothing", "");
  fields.add("Detail", "one\ntwo\x1b");
  EXPECT_EQ(fields.render(), "Task:   1\nDetail: one\n        two\\x1b\n");
}

}  // namespace
}  // namespace agenttask::console

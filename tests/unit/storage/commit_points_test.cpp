#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "platform/base/commit_point.hpp"
#include "platform/storage/database.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask {
namespace {

/// How many things another connection sees at each moment, beside its name.
struct Heard {
  storage::Database* reader = nullptr;
  std::vector<std::string> moments;
};
Heard& heard() {
  static Heard one;
  return one;
}

}  // namespace

void at_commit_point(CommitPoint point, CommitMoment moment) noexcept {
  std::string text = (moment == CommitMoment::before ? "before " : "after ") + std::string(point.name);
  if (heard().reader != nullptr) {
    auto statement = heard().reader->query("SELECT count(*) FROM things");
    text += statement.step() ? ", there are " + std::to_string(statement.integer(0)) : ", ?";
  }
  heard().moments.push_back(std::move(text));
}

namespace storage {
namespace {

constexpr CommitPoint kOne{"one"};
constexpr CommitPoint kOther{"other"};
constexpr std::array<std::string_view, 1> kTables = {"CREATE TABLE things (name TEXT PRIMARY KEY) STRICT"};
const Schema kSchema{"the test's store", 4711, kTables};

class CommitPointsTest : public testing::Test {
 public:
  CommitPointsTest()
      : database_(Database::open(file_, kSchema).value()),
        reader_(Database::open(file_, kSchema, {.read_only = true}).value()) {
    migrated_ = heard().moments;
    heard() = {&reader_, {}};
  }
  ~CommitPointsTest() override { heard() = {}; }

 protected:
  void insert(const char* name) { database_.execute("INSERT INTO things VALUES (?1)", {name}); }

  test::TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_.path() / "store.db";
  Database database_;
  Database reader_;
  std::vector<std::string> migrated_;
};

using Moments = std::vector<std::string>;

TEST_F(CommitPointsTest, StandDirectlyBeforeAndAfterTheCommit) {
  {
    Transaction transaction(database_);
    database_.commits(kOne);
    insert("a");
    database_.commits(kOther);
    database_.commits(kOne);
    EXPECT_TRUE(heard().moments.empty());
    ASSERT_TRUE(transaction.commit());
  }
  EXPECT_EQ((Moments{"before one, there are 0", "before other, there are 0", "after one, there are 1",
                     "after other, there are 1"}),
            heard().moments);
  Transaction next(database_);
  insert("b");
  ASSERT_TRUE(next.commit());
  EXPECT_EQ(4U, heard().moments.size()) << "a name is for one transaction";
}

TEST_F(CommitPointsTest, AreForgottenWithWhatIsUndone) {
  {
    Transaction undone(database_);
    database_.commits(kOne);
    insert("a");
  }
  Transaction transaction(database_);
  {
    Savepoint kept(database_);
    database_.commits(kOther);
    insert("b");
    ASSERT_TRUE(kept.release());
  }
  {
    Savepoint lost(database_);
    database_.commits(kOne);
    database_.commits(kOther);
    insert("c");
  }
  ASSERT_TRUE(transaction.commit());
  EXPECT_EQ((Moments{"before other, there are 0", "after other, there are 1"}), heard().moments);
}

TEST_F(CommitPointsTest, WhatFailsHasNoCommit) {
  Transaction transaction(database_);
  database_.commits(kOne);
  insert("a");
  insert("a");
  EXPECT_FALSE(transaction.commit());
  EXPECT_TRUE(heard().moments.empty());
}

TEST_F(CommitPointsTest, ANewDatabaseIsOne) {
  EXPECT_EQ((Moments{"before schema-migrated", "after schema-migrated"}), migrated_);
}

}  // namespace
}  // namespace storage
}  // namespace agenttask

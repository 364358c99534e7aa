#include "platform/storage/database.hpp"

#include <array>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.hpp"

namespace agenttask::storage {
namespace {

constexpr std::array<std::string_view, 1> kOne = {
    "CREATE TABLE things (name TEXT PRIMARY KEY, size INTEGER, bytes BLOB) STRICT"};
constexpr std::array<std::string_view, 2> kTwo = {
    kOne[0], "ALTER TABLE things ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'"};
const Schema kFirst{"the test's store", 4711, kOne};
const Schema kSecond{"the test's store", 4711, kTwo};
const Schema kForeign{"another store", 815, kOne};

std::string content(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

class DatabaseTest : public testing::Test {
 protected:
  Database open(const Schema& schema = kFirst, const OpenOptions& options = {}) {
    auto database = Database::open(file_, schema, options);
    EXPECT_TRUE(database) << database.error().message;
    return std::move(database.value());
  }
  Error refused(const Schema& schema = kFirst, const OpenOptions& options = {}) {
    const auto database = Database::open(file_, schema, options);
    EXPECT_FALSE(database);
    return database ? Error{} : database.error();
  }
  static std::int64_t count(Database& database) {
    auto statement = database.query("SELECT count(*) FROM things");
    return statement.step() ? statement.integer(0) : -1;
  }

  test::TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_.path() / "store.db";
};

TEST_F(DatabaseTest, BindsAndReadsEveryType) {
  auto database = open();
  const std::string bytes("a\0b\xff", 4);
  EXPECT_EQ(1, database.execute("INSERT INTO things VALUES (?1, ?2, ?3)", {"one", INT64_MIN, Blob{bytes}}));
  EXPECT_EQ(1, database.execute("INSERT INTO things VALUES (?1, ?2, ?3)",
                                {std::string("two"), std::optional<std::int64_t>(), nullptr}));
  EXPECT_EQ(1, database.execute("INSERT INTO things VALUES (?1, 0, ?2)", {"", Blob{""}}));
  ASSERT_TRUE(database.check());
  auto statement = database.query("SELECT name, size, bytes FROM things ORDER BY rowid");
  ASSERT_TRUE(statement.step());
  EXPECT_EQ(INT64_MIN, statement.integer(1));
  EXPECT_EQ(bytes, statement.text(2));
  ASSERT_TRUE(statement.step());
  EXPECT_EQ("two", statement.text(0));
  EXPECT_TRUE(statement.is_null(1));
  EXPECT_FALSE(statement.optional_integer(1));
  EXPECT_FALSE(statement.optional_text(2));
  ASSERT_TRUE(statement.step());
  EXPECT_FALSE(statement.is_null(0)) << "an empty text is no NULL";
  EXPECT_FALSE(statement.is_null(2));
  EXPECT_FALSE(statement.step());
  EXPECT_TRUE(database.check());
}

TEST_F(DatabaseTest, OneStatementMayBeUsedTwiceAtOnce) {
  auto database = open();
  database.execute("INSERT INTO things VALUES ('a', 1, NULL), ('b', 2, NULL)");
  auto outer = database.query("SELECT size FROM things ORDER BY size");
  std::int64_t sum = 0;
  while (outer.step()) {
    auto inner = database.query("SELECT size FROM things ORDER BY size");
    while (inner.step()) sum += outer.integer(0) * inner.integer(0);
  }
  EXPECT_EQ(9, sum);
}

TEST_F(DatabaseTest, GivesBackMemoryAndGoesOn) {
  auto database = open();
  {
    Transaction transaction(database);
    database.execute("INSERT INTO things VALUES ('one', 1, NULL)");
    database.release_memory();  // not now: the transaction goes on
    ASSERT_TRUE(transaction.commit());
  }
  {
    auto statement = database.query("SELECT size FROM things");
    ASSERT_TRUE(statement.step());
    database.release_memory();  // nor while a statement is in use
    EXPECT_EQ(1, statement.integer(0));
  }
  database.release_memory();
  EXPECT_EQ(1, count(database));
  EXPECT_TRUE(database.check());
}

TEST_F(DatabaseTest, CommitsOrRollsBack) {
  auto database = open();
  {
    Transaction transaction(database);
    database.execute("INSERT INTO things VALUES ('kept', 1, NULL)");
    ASSERT_TRUE(transaction.commit());
  }
  {
    Transaction transaction(database);
    database.execute("INSERT INTO things VALUES ('dropped', 1, NULL)");
  }
  EXPECT_EQ(1, count(database));
}

TEST_F(DatabaseTest, TheFirstFailureStopsTheWholeTransaction) {
  auto database = open();
  {
    Transaction transaction(database);
    database.execute("INSERT INTO things VALUES ('a', 1, NULL)");
    database.execute("INSERT INTO things VALUES ('a', 2, NULL)");
    database.execute("INSERT INTO nowhere VALUES (1)");
    EXPECT_TRUE(database.failed());
    EXPECT_EQ(0, database.execute("INSERT INTO things VALUES ('b', 1, NULL)"));
    const auto committed = transaction.commit();
    ASSERT_FALSE(committed);
    EXPECT_EQ(ErrorCode::conflict, committed.error().code) << committed.error().message;
  }
  EXPECT_FALSE(database.failed());
  EXPECT_EQ(0, count(database));
}

TEST_F(DatabaseTest, ASavepointUndoesItsPartAlone) {
  auto database = open();
  Transaction transaction(database);
  database.execute("INSERT INTO things VALUES ('outer', 1, NULL)");
  {
    Savepoint savepoint(database);
    database.execute("INSERT INTO things VALUES ('inner', 1, NULL)");
    database.execute("INSERT INTO things VALUES ('inner', 1, NULL)");
    const auto released = savepoint.release();
    ASSERT_FALSE(released);
    EXPECT_EQ(ErrorCode::conflict, released.error().code);
  }
  {
    Savepoint savepoint(database);
    database.execute("INSERT INTO things VALUES ('forgotten', 1, NULL)");
  }
  {
    Savepoint savepoint(database);
    database.execute("INSERT INTO things VALUES ('second', 1, NULL)");
    ASSERT_TRUE(savepoint.release());
  }
  ASSERT_TRUE(transaction.commit());
  EXPECT_EQ(2, count(database));
}

TEST_F(DatabaseTest, MigratesOnceAndKeepsTheRows) {
  {
    auto database = open(kFirst);
    database.execute("INSERT INTO things VALUES ('a', 1, NULL)");
  }
  for (int i = 0; i < 2; ++i) {
    auto database = open(kSecond);
    auto statement = database.query("SELECT colour FROM things");
    ASSERT_TRUE(statement.step());
    EXPECT_EQ("red", statement.text(0));
  }
}

TEST_F(DatabaseTest, AFailedMigrationChangesNothing) {
  { auto database = open(kFirst); }
  constexpr std::array<std::string_view, 2> broken = {kOne[0],
                                                      "CREATE TABLE more (x); CREATE TABLE things (y)"};
  const Error error = refused(Schema{"the test's store", 4711, broken});
  EXPECT_EQ(ErrorCode::internal, error.code);
  auto database = open(kFirst);
  auto statement = database.query("SELECT count(*) FROM sqlite_schema WHERE name = 'more'");
  ASSERT_TRUE(statement.step());
  EXPECT_EQ(0, statement.integer(0));
}

TEST_F(DatabaseTest, RefusesANewerFileAndLeavesItAlone) {
  { auto database = open(kSecond); }
  const std::string before = content(file_);
  const Error error = refused(kFirst);
  EXPECT_EQ(ErrorCode::newer, error.code);
  EXPECT_NE(std::string::npos, error.message.find("newer version")) << error.message;
  EXPECT_EQ(before, content(file_));
}

TEST_F(DatabaseTest, RefusesTheFileOfAnotherProgram) {
  { auto database = open(kForeign); }
  const std::string before = content(file_);
  EXPECT_EQ(ErrorCode::invalid, refused(kFirst).code);
  EXPECT_EQ(before, content(file_));
}

TEST_F(DatabaseTest, RefusesWhatIsNoDatabase) {
  std::ofstream(file_)
      << "this is a letter, not a database, and it is long enough to look like one at first sight";
  const std::string before = content(file_);
  const Error error = refused();
  EXPECT_EQ(ErrorCode::corrupt, error.code) << error.message;
  EXPECT_NE(std::string::npos, error.message.find(file_.string()));
  EXPECT_EQ(before, content(file_));
}

TEST_F(DatabaseTest, RefusesADamagedFile) {
  {
    auto database = open();
    Transaction transaction(database);
    for (int i = 0; i < 2000; ++i) {
      database.execute("INSERT INTO things VALUES (?1, 1, zeroblob(100))", {std::to_string(i)});
    }
    ASSERT_TRUE(transaction.commit());
  }
  {
    std::fstream damaged(file_, std::ios::binary | std::ios::in | std::ios::out);
    damaged.seekp(4096 * 5 + 8);
    damaged << std::string(3000, 'x');
  }
  const std::string before = content(file_);
  const Error error = refused();
  EXPECT_EQ(ErrorCode::corrupt, error.code) << error.message;
  EXPECT_EQ(before, content(file_));
}

TEST_F(DatabaseTest, RefusesATruncatedFile) {
  {
    auto database = open();
    Transaction transaction(database);
    for (int i = 0; i < 500; ++i) {
      database.execute("INSERT INTO things VALUES (?1, 1, zeroblob(100))", {std::to_string(i)});
    }
    ASSERT_TRUE(transaction.commit());
  }
  std::filesystem::resize_file(file_, 4096 * 3);
  EXPECT_EQ(ErrorCode::corrupt, refused().code);
}

TEST_F(DatabaseTest, AFullDiskIsToldApartAndNothingIsHalfDone) {
  auto database = open(kFirst, {.max_page_count = 12});
  Transaction transaction(database);
  for (int i = 0; i < 100; ++i) {
    database.execute("INSERT INTO things VALUES (?1, 1, zeroblob(4000))", {std::to_string(i)});
  }
  const auto committed = transaction.commit();
  ASSERT_FALSE(committed);
  EXPECT_EQ(ErrorCode::limit, committed.error().code) << committed.error().message;
  EXPECT_EQ(0, count(database));
  Transaction again(database);
  database.execute("INSERT INTO things VALUES ('small', 1, NULL)");
  EXPECT_TRUE(again.commit()) << "it works again when there is room";
}

TEST_F(DatabaseTest, AFullDiskInASavepointEndsTheTransactionHonestly) {
  auto database = open(kFirst, {.max_page_count = 12});
  Transaction transaction(database);
  database.execute("INSERT INTO things VALUES ('outer', 1, NULL)");
  bool released = false;
  {
    Savepoint savepoint(database);
    for (int i = 0; i < 100; ++i) {
      database.execute("INSERT INTO things VALUES (?1, 1, zeroblob(4000))", {std::to_string(i)});
    }
    released = savepoint.release().has_value();
  }
  EXPECT_FALSE(released);
  const auto committed = transaction.commit();
  EXPECT_EQ(committed ? 1 : 0, count(database)) << "what commit said is what is there";
}

TEST_F(DatabaseTest, AnExclusiveFileIsHeldByOneAlone) {
  auto database = open(kFirst, {.exclusive = true, .busy_timeout = std::chrono::milliseconds(0)});
  const Error error = refused(kFirst, {.exclusive = true, .busy_timeout = std::chrono::milliseconds(0)});
  EXPECT_EQ(ErrorCode::unavailable, error.code) << error.message;
}

TEST_F(DatabaseTest, ReadersSeeWhatWasCommittedAndCannotWrite) {
  auto writer = open();
  auto reader = open(kFirst, {.read_only = true});
  Transaction transaction(writer);
  writer.execute("INSERT INTO things VALUES ('a', 1, NULL)");
  EXPECT_EQ(0, count(reader));
  ASSERT_TRUE(transaction.commit());
  EXPECT_EQ(1, count(reader));
  reader.execute("DELETE FROM things");
  const auto checked = reader.check();
  ASSERT_FALSE(checked);
  EXPECT_EQ(ErrorCode::denied, checked.error().code);
}

TEST_F(DatabaseTest, ASecondWriterIsToldThatItIsBusy) {
  auto first = open();
  auto second = open(kFirst, {.busy_timeout = std::chrono::milliseconds(0)});
  Transaction transaction(first);
  Transaction late(second);
  const auto committed = late.commit();
  ASSERT_FALSE(committed);
  EXPECT_EQ(ErrorCode::unavailable, committed.error().code);
  EXPECT_TRUE(transaction.commit());
}

TEST_F(DatabaseTest, AFolderThatIsMissingIsNamed) {
  const auto file = folder_.path() / "nowhere" / "store.db";
  const auto database = Database::open(file, kFirst);
  ASSERT_FALSE(database);
  EXPECT_EQ(ErrorCode::io, database.error().code);
  EXPECT_NE(std::string::npos, database.error().message.find(file.string()));
}

}  // namespace
}  // namespace agenttask::storage

#include <array>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "platform/storage/copy_database.hpp"
#include "platform/storage/database.hpp"
#include "platform/storage/salvage.hpp"
#include "tests/support/failing_sync.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 1> kTables = {
    "CREATE TABLE things (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, text TEXT NOT NULL) STRICT;"
    "CREATE TABLE others (thing INTEGER PRIMARY KEY REFERENCES things (number), text TEXT NOT NULL) STRICT"};
const Schema kSchema{"the test's store", 4711, kTables};

class MendingTest : public testing::Test {
 protected:
  void TearDown() override { test::sync_fails = false; }

  Database open(const OpenOptions& options = {}) {
    auto database = Database::open(file_, kSchema, options);
    EXPECT_TRUE(database) << database.error().message;
    return std::move(database.value());
  }
  static Result<void> add(Database& database, std::int64_t number, std::size_t bytes = 10) {
    Transaction transaction(database);
    database.execute("INSERT INTO things VALUES (?1, ?2, ?3)",
                     {number, "name" + std::to_string(number), std::string(bytes, 'x')});
    return transaction.commit();
  }
  static std::int64_t count(Database& database) {
    auto statement = database.query("SELECT count(*) FROM things");
    return statement.step() ? statement.integer(0) : -1;
  }
  /// What a program would find that starts after the power went, as far as the files tell.
  std::int64_t count_after_a_crash() {
    const fs::path copy = folder_.path() / "crashed";
    fs::create_directory(copy);
    for (const char* part : {"", "-wal"}) {
      if (fs::exists(file_.string() + part))
        fs::copy_file(file_.string() + part, (copy / "store.db").string() + part);
    }
    auto database = Database::open(copy / "store.db", kSchema);
    EXPECT_TRUE(database);
    const auto found = count(*database);
    fs::remove_all(copy);
    return found;
  }
  void damage(std::int64_t page) {
    std::fstream stream(file_, std::ios::binary | std::ios::in | std::ios::out);
    stream.seekp((page - 1) * 4096);
    stream << std::string(4096, '\xee');
  }
  /// The page that holds a row of `things`.
  static std::int64_t leaf_pages(Database& database) {
    auto statement = database.query("SELECT count(*) FROM pragma_page_count()");
    return statement.step() ? statement.integer(0) : 0;
  }

  test::TemporaryFolder folder_;
  const fs::path file_ = folder_.path() / "store.db";
};

TEST_F(MendingTest, WhatFailedToReachTheDiskNeverComesBack) {
  for (const bool exclusive : {false, true}) {
    fs::remove(file_);
    OpenOptions options;
    options.exclusive = exclusive;
    auto database = open(options);
    ASSERT_TRUE(add(database, 1));
    test::sync_fails = true;
    const auto failed = add(database, 2);
    ASSERT_FALSE(failed);
    EXPECT_EQ(ErrorCode::io, failed.error().code) << failed.error().message;
    // As long as the disk fails, nothing goes on, and reading does not either: what is in memory is not
    // believed.
    EXPECT_FALSE(add(database, 3));
    {
      Transaction view(database, Transaction::Kind::read);
      EXPECT_FALSE(view.commit());
    }
    test::sync_fails = false;
    ASSERT_TRUE(add(database, 4));
    EXPECT_EQ(2, count(database)) << "one and four";
    EXPECT_EQ(2, count_after_a_crash());
  }
}

TEST_F(MendingTest, ADiskThatIsBackIsFoundByTheNextRead) {
  auto database = open();
  ASSERT_TRUE(add(database, 1));
  test::sync_fails = true;
  ASSERT_FALSE(add(database, 2));
  test::sync_fails = false;
  EXPECT_EQ(1, count(database));
  EXPECT_TRUE(database.check());
  EXPECT_EQ(1, count_after_a_crash());
  EXPECT_EQ(1, database.execute("INSERT INTO things VALUES (7, 'seven', '')"));
  EXPECT_EQ(7, database.last_insert_id());
}

TEST_F(MendingTest, AFileThatIsGoneIsNotReplacedByAnEmptyOne) {
  for (const bool empty : {false, true}) {
    fs::remove(file_);
    auto database = open();
    ASSERT_TRUE(add(database, 1));
    const fs::path away = folder_.path() / "away.db";
    test::sync_fails = true;
    ASSERT_FALSE(add(database, 2));
    test::sync_fails = false;
    for (const char* part : {"-wal", "-shm"}) fs::remove(file_.string() + part);
    fs::rename(file_, away);
    if (empty) std::ofstream(file_) << "";
    for (int i = 0; i < 2; ++i) {
      const auto failed = add(database, 3);
      ASSERT_FALSE(failed) << "in a database that is not the one that was opened";
      EXPECT_EQ(ErrorCode::io, failed.error().code) << failed.error().message;
    }
    EXPECT_EQ(empty, fs::exists(file_));
    // The right one is back.
    fs::rename(away, file_);
    EXPECT_TRUE(add(database, 4));
    EXPECT_EQ(2, count(database));
  }
}

TEST_F(MendingTest, ADatabaseIsClosedAsOneFileOrNotAtAll) {
  for (const bool works : {false, true}) {
    auto database = open();
    ASSERT_TRUE(add(database, works ? 2 : 1));
    test::sync_fails = !works;
    const auto closed = close_as_one_file(std::move(database));
    test::sync_fails = false;
    EXPECT_EQ(works, closed.has_value());
  }
  const fs::path moved = folder_.path() / "moved.db";
  fs::rename(file_, moved);
  EXPECT_FALSE(fs::exists(file_.string() + "-wal"));
  auto database = Database::open(moved, kSchema);
  ASSERT_TRUE(database);
  EXPECT_EQ(2, count(*database));
}

TEST_F(MendingTest, ADatabaseIsCopiedWhileItIsWritten) {
  auto database = open();
  for (std::int64_t i = 1; i <= 200; ++i) ASSERT_TRUE(add(database, i, 500));
  Transaction open_one(database);
  database.execute("INSERT INTO things VALUES (1000, 'not committed', '')");
  const fs::path copy = folder_.path() / "copy.db";
  const auto done = copy_database(file_, copy, kSchema);
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_TRUE(open_one.commit());
  EXPECT_EQ(fs::perms::owner_read | fs::perms::owner_write, fs::status(copy).permissions());
  EXPECT_FALSE(fs::exists(copy.string() + "-wal"));
  OpenOptions options;
  options.read_only = true;
  auto copied = Database::open(copy, kSchema, options);
  ASSERT_TRUE(copied) << copied.error().message;
  EXPECT_EQ(200, count(*copied));
  const auto again = copy_database(file_, copy, kSchema);
  ASSERT_FALSE(again);
  EXPECT_EQ(ErrorCode::conflict, again.error().code);
}

TEST_F(MendingTest, ADamagedDatabaseIsNotCopiedAndNothingIsLeft) {
  {
    auto database = open();
    for (std::int64_t i = 1; i <= 200; ++i) ASSERT_TRUE(add(database, i, 500));
  }
  damage(8);
  const fs::path copy = folder_.path() / "copy.db";
  const auto done = copy_database(file_, copy, kSchema);
  ASSERT_FALSE(done);
  EXPECT_EQ(ErrorCode::corrupt, done.error().code) << done.error().message;
  EXPECT_FALSE(fs::exists(copy));
}

TEST_F(MendingTest, ReferencesToNothingAreDamage) {
  auto database = open();
  ASSERT_TRUE(add(database, 1));
  EXPECT_TRUE(find_damage(database, 5)->empty());
  database.execute_script("PRAGMA foreign_keys = OFF; INSERT INTO others VALUES (99, '')");
  const auto found = find_damage(database, 5);
  ASSERT_TRUE(found);
  ASSERT_EQ(1U, found->size());
  EXPECT_NE(std::string::npos, found->front().find("others")) << found->front();
}

TEST_F(MendingTest, TheRowsAroundADamageAreSaved) {
  {
    auto database = open();
    for (std::int64_t i = 1; i <= 400; ++i) ASSERT_TRUE(add(database, i, 500));
    ASSERT_GT(leaf_pages(database), 0);
  }
  damage(12);
  damage(30);
  ASSERT_FALSE(Database::open(file_, kSchema));
  const auto header = read_header(file_);
  ASSERT_TRUE(header);
  EXPECT_EQ(4711, header->application_id);
  EXPECT_EQ(1, header->version);
  auto into = Database::open(folder_.path() / "saved.db", kSchema);
  ASSERT_TRUE(into);
  {
    auto salvage = Salvage::begin(*into, file_);
    ASSERT_TRUE(salvage) << salvage.error().message;
    EXPECT_FALSE(salvage->findings(3).empty());
    Transaction transaction(*into);
    const auto things = salvage->copy("things");
    ASSERT_TRUE(things) << things.error().message;
    EXPECT_FALSE(things->whole());
    EXPECT_GT(things->saved, 370);
    EXPECT_EQ(400, things->saved + things->lost) << things->saved;
    const auto others = salvage->copy("others");
    ASSERT_TRUE(others);
    EXPECT_TRUE(others->whole());
    EXPECT_EQ(0, others->saved);
    EXPECT_EQ(0, salvage->copy("of a later version")->saved);
    const auto names = salvage->indexed_texts("things", "name");
    EXPECT_GE(names.size(), static_cast<std::size_t>(things->saved) / 2);
    ASSERT_TRUE(transaction.commit());
  }
  EXPECT_GT(count(*into), 370);
  EXPECT_TRUE(find_damage(*into, 3)->empty());
}

TEST_F(MendingTest, WhatIsNoDatabaseHasNoHeader) {
  std::ofstream(file_) << std::string(10000, 'z');
  const auto header = read_header(file_);
  ASSERT_FALSE(header);
  EXPECT_EQ(ErrorCode::corrupt, header.error().code) << header.error().message;
  EXPECT_EQ(ErrorCode::not_found, read_header(folder_.path() / "nothing").error().code);
}

}  // namespace
}  // namespace agenttask::storage

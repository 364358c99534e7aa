#pragma once
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

#include "platform/base/ids.hpp"
#include "platform/base/log.hpp"
#include "server/store/store.hpp"
#include "server/store/streams.hpp"
#include "server/store/tasks.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::server::test {

/// A real database in a folder of its own, written without the writer's thread: each `write` is one commit.
class Files {
 public:
  Files() { open(); }

  void open() {
    auto opened = open_sqlite_store(file());
    if (!opened) throw std::runtime_error(opened.error().message);
    store = std::move(*opened);
    auto begun = store->write_session();
    if (!begun) throw std::runtime_error(begun.error().message);
    session = std::move(*begun);
  }
  void close() {
    session.reset();
    store.reset();
  }
  void reopen() {
    close();
    open();
  }
  [[nodiscard]] std::filesystem::path file() const { return folder.path() / "server.db"; }

  template <class Function>
  auto write(Function function) {
    expect(session->begin());
    expect(session->begin_job());
    auto value = function(session->store());
    expect(session->end_job(true));
    expect(session->commit());
    touched = session->take_touched();
    for (const auto& action : session->take_actions()) action();
    return value;
  }
  template <class Function>
  auto read(Function function) {
    auto lease = store->read();
    if (!lease) throw std::runtime_error(lease.error().message);
    auto value = function(**lease);
    expect((*lease)->check());
    return value;
  }
  static void expect(const Result<void>& result) {
    if (!result) throw std::runtime_error(result.error().message);
  }

  agenttask::test::TemporaryFolder folder;
  agenttask::test::ManualClock clock;
  Logger logger{LogLevel::error, LogFormat::text};
  std::unique_ptr<Store> store;
  std::unique_ptr<WriteSession> session;
  std::vector<std::string> touched;
};

class StoreTest : public ::testing::Test, public Files {
 protected:
  StoreTest() { node = add_node("alpha"); }

  std::string add_node(const std::string& name, Labels labels = {}) {
    NodeRecord record;
    record.id = make_uuid(clock.wall());
    record.name = name;
    record.labels = std::move(labels);
    write([&](WriteStore& store_) {
      store_.insert_node(record);
      return 0;
    });
    return record.id;
  }
  TaskSpec spec(std::string data = R"({"message":"x"})") const {
    TaskSpec wanted;
    wanted.id = make_uuid(clock.wall());
    wanted.node_id = node;
    wanted.type = "echo";
    wanted.data = std::move(data);
    return wanted;
  }
  std::string add(TaskSpec wanted) {
    return write([&](WriteStore& store_) {
      const auto digest = request_digest(wanted);
      return create_task(store_, wanted, digest, "tester", clock.wall()).task.spec.id;
    });
  }
  std::string add() { return add(spec()); }
  TaskRecord task(const std::string& id) {
    return read([&](const ReadStore& store_) { return store_.task(id, WithData::yes).value(); });
  }
  NodeRecord node_row() {
    return read([&](const ReadStore& store_) { return store_.node(node).value(); });
  }

  std::string node;
};

}  // namespace agenttask::server::test

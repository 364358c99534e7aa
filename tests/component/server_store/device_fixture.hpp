#pragma once
#include "tests/component/server_store/reference_device.hpp"
#include "tests/component/server_store/store_fixture.hpp"

namespace agenttask::server::test {

/// The store's node with its device, which speaks when a test says so; each time in one commit.
class DeviceTest : public StoreTest {
 protected:
  DeviceTest() { device.epoch = 1; }

  void poll() {
    const auto row = node_row();
    device.take(write(
        [&](WriteStore& writes) { return apply_poll(writes, row, device.poll(), clock.wall(), logger); }));
  }
  void post() {
    const auto row = node_row();
    device.take(write([&](WriteStore& writes) {
      return apply_reports(writes, row, device.post(), clock.wall(), logger, limits).value();
    }));
  }

  ReferenceDevice device{node};
  HistoryLimits limits;
};

}  // namespace agenttask::server::test

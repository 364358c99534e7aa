#include "server/store/batch_carrier.hpp"

#include <chrono>
#include <vector>

#include "server/store/batches.hpp"

namespace agenttask::server {
namespace {

using namespace std::chrono_literals;
constexpr auto kTryAgain = 2s;  ///< after a failure: the disk is full, or too many writes wait
constexpr auto kIdle = 24h;     ///< nothing comes that nobody rings for

}  // namespace

BatchCarrier::BatchCarrier(Store& store, Writer& writer, const Clock& clock, Logger& logger)
    : store_(store), writer_(writer), clock_(clock), logger_(logger) {}

BatchCarrier::~BatchCarrier() {
  stop();
}

void BatchCarrier::stop() {
  stopping_.store(true);
  bell_.ring();
  if (thread_.joinable()) thread_.join();
}

void BatchCarrier::start() {
  thread_ = std::thread([this] {
    while (!stopping_.load()) {
      const bool done = carry_on();
      if (!stopping_.load())
        bell_.wait_until(clock_.monotonic() + (done ? MonotonicTime::duration(kIdle) : kTryAgain));
    }
  });
}

bool BatchCarrier::carry_on() {
  while (!stopping_.load()) {
    const auto more = carry_each_on();
    if (!more) {
      logger_.error("cannot carry on a task for many devices; trying again",
                    {{"error", more.error().message}});
      return false;
    }
    if (!*more) return true;
  }
  return true;
}

Result<bool> BatchCarrier::carry_each_on() {
  std::vector<std::int64_t> open;
  {
    const auto lease = store_.read();
    if (!lease) return lease.error();
    open = (*lease)->open_batches();
    if (const auto read = (*lease)->check(); !read) return read.error();
  }
  bool more = false;
  for (const auto sequence : open) {
    if (stopping_.load()) return false;
    const auto done = writer_.run([&](WriteStore& store) -> Result<void> {
      more |= carry_on_batch(store, sequence, clock_.wall());
      return {};
    });
    if (!done) return done.error();
  }
  return more;
}

}  // namespace agenttask::server

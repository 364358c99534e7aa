#include "tests/bench/load/fleet.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "tests/bench/load/enrollment.hpp"
#include "tests/bench/load/samples.hpp"

namespace agenttask::bench {

using nlohmann::json;

Fleet::Fleet(EventLoop& loop, const TlsClient& tls, std::uint16_t port)
    : loop_(loop), surroundings_{loop, tls, handshakes_, *this, port} {}

void Fleet::enroll(std::size_t count, const std::string& token, std::size_t connections, Done done) {
  const Time begin = now();
  auto enrollment = std::make_shared<Enrollment>(loop_, surroundings_.tls, surroundings_.port, token);
  enrollment->run(count, connections,
                  [this, enrollment, begin, done = std::move(done)](std::vector<Enrolled> all) {
                    for (auto& one : all) {
                      devices_.push_back(std::make_unique<Device>(
                          surroundings_, std::move(one.node), std::move(one.name), std::move(one.identity)));
                    }
                    done({{"enrolled", all.size()},
                          {"failed", enrollment->problems()},
                          {"seconds", seconds_between(begin, now())}});
                  });
}

void Fleet::hold(std::size_t count, std::size_t in_flight, std::uint16_t port, bool mute, Done done) {
  surroundings_.port = port;
  surroundings_.mute = mute;
  next_ = 0;
  under_way_ = 0;
  last_ = std::min(count, devices_.size());
  in_flight_ = std::max<std::size_t>(in_flight, 1);
  await_holding(last_, std::move(done));
  start_more();
}

void Fleet::start_more() {
  while (next_ < last_ && under_way_ < in_flight_) {
    Device& device = *devices_[next_++];
    if (device.holding()) continue;
    ++under_way_;
    device.hold();
  }
}

void Fleet::await_holding(std::size_t count, Done done) {
  begun_ = now();
  wanted_holding_ = count;
  all_hold_ = std::move(done);
  loop_.later([this] { look_whether_all_hold(); });
}

void Fleet::look_whether_all_hold() {
  if (!all_hold_ || holding_ < wanted_holding_) return;
  auto result = counts();
  result["seconds"] = seconds_between(begun_, now());
  std::exchange(all_hold_, {})(std::move(result));
}

void Fleet::drop(bool forget) {
  for (const auto& device : devices_) device->drop(forget);
  holding_ = under_way_ = 0;
  next_ = last_ = 0;
}

void Fleet::await_stored(std::int64_t ends, std::function<void()> done) {
  wanted_stored_ = ends;
  all_stored_ = std::move(done);
  if (stored_ >= wanted_stored_) loop_.later(std::exchange(all_stored_, {}));
}

void Fleet::holds(Device&) {
  ++holding_;
  if (under_way_ > 0) {
    --under_way_;
    loop_.later([this] { start_more(); });
  }
  if (holding_ >= wanted_holding_) loop_.later([this] { look_whether_all_hold(); });
}

void Fleet::released(Device&) {
  --holding_;
}

void Fleet::lost(Device&, const Answer& answer, bool held) {
  if (held) --holding_;
  ++problems_[answer.status == 0 ? answer.problem : "status " + std::to_string(answer.status)];
}

void Fleet::delivered(Device&, const TaskSpec& task, Time time) {
  ++deliveries_;
  if (!tasks_.insert(task.id).second) ++twice_;
  if (delivered_) delivered_(task, time);
}

void Fleet::stored(Device&, std::int64_t ends) {
  stored_ += ends;
  if (all_stored_ && stored_ >= wanted_stored_) loop_.later(std::exchange(all_stored_, {}));
}

void Fleet::wrong(Device&, std::string_view what) {
  ++wrongs_[std::string(what)];
}

json Fleet::counts() const {
  return {{"devices", devices_.size()},
          {"holding", holding_},
          {"handshakes", handshakes_.full},
          {"resumed", handshakes_.resumed},
          {"delivered", deliveries_},
          {"twice", twice_},
          {"stored", stored_},
          {"problems", problems_},
          {"wrong", wrongs_}};
}

void Fleet::clear_counts() {
  handshakes_ = {};
  deliveries_ = twice_ = stored_ = 0;
  tasks_.clear();
  problems_.clear();
  wrongs_.clear();
}

}  // namespace agenttask::bench

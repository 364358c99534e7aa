#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "tests/bench/load/event_loop.hpp"

namespace agenttask::bench {

/// Puts jobs into beanstalkd over many plain connections, each one after another, until the time is over: its
/// protocol is lines over TCP, without TLS or credentials.
class BeanstalkJob : public std::enable_shared_from_this<BeanstalkJob> {
 public:
  struct Plan {
    std::uint16_t port = 0;
    std::size_t connections = 1;
    Milliseconds time{0};
    std::string body;
  };
  using Done = std::function<void(nlohmann::json)>;

  BeanstalkJob(EventLoop& loop, Plan plan);
  ~BeanstalkJob();
  BeanstalkJob(const BeanstalkJob&) = delete;
  BeanstalkJob& operator=(const BeanstalkJob&) = delete;

  void start(Done done);

 private:
  class Client;
  void inserted();
  void failed(const std::string& what);
  [[nodiscard]] bool over() const;
  void gone();

  EventLoop& loop_;
  Plan plan_;
  Done done_;
  std::shared_ptr<BeanstalkJob> self_;  ///< while it runs: its clients only refer to it
  std::vector<std::unique_ptr<Client>> clients_;
  std::size_t open_ = 0;
  std::int64_t inserted_ = 0;
  std::string problem_;
  Time begun_{};
};

}  // namespace agenttask::bench

// The load of the benchmarks: simulated devices and operators in one process, driven by one JSON object a
// line on standard input; each is answered by one line on standard output when it is done. See
// tests/bench/load.py.
#include <array>
#include <csignal>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/bench/load/beanstalk.hpp"
#include "tests/bench/load/fleet.hpp"
#include "tests/bench/load/operators.hpp"

namespace agenttask::bench {
namespace {

using nlohmann::json;

std::string read_file(const char* name) {
  std::ifstream file(name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void answer(const json& value) {
  std::cout << value.dump() << std::endl;
}

class Program final : Watcher {
 public:
  Program(std::uint16_t port, const std::string& authority)
      : tls_(authority), fleet_(loop_, tls_, port), operators_{loop_, tls_, port, {}} {}

  void run() {
    loop_.watch(STDIN_FILENO, EPOLLIN, *this);
    loop_.run();
  }

  void ready(std::uint32_t) override {
    std::array<char, 64 * 1024> buffer;
    const auto bytes = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (bytes <= 0) return loop_.stop();  // whoever drives us is gone
    in_.append(buffer.data(), static_cast<std::size_t>(bytes));
    for (auto end = in_.find('\n'); end != std::string::npos; end = in_.find('\n')) {
      const auto line = in_.substr(0, end);
      in_.erase(0, end + 1);
      obey(line);
    }
  }

 private:
  using Action = void (Program::*)(const json&);

  void obey(const std::string& line) {
    static const std::map<std::string, Action> kActions{{"operator", &Program::use_operator},
                                                        {"enroll", &Program::enroll},
                                                        {"hold", &Program::hold},
                                                        {"awaitHolding", &Program::await_holding},
                                                        {"drop", &Program::drop},
                                                        {"counts", &Program::counts},
                                                        {"clear", &Program::clear},
                                                        {"nodes", &Program::nodes},
                                                        {"enqueue", &Program::enqueue},
                                                        {"latency", &Program::latency},
                                                        {"pipeline", &Program::pipeline},
                                                        {"puts", &Program::puts}};
    try {
      const auto command = json::parse(line);
      (this->*kActions.at(command.at("do").get<std::string>()))(command);
    } catch (const std::exception& error) {
      answer({{"error", std::string(error.what()) + " in " + line.substr(0, 200)}});
    }
  }

  void use_operator(const json& command) {
    operators_.token = command.at("token").get<std::string>();
    answer(json::object());
  }
  void enroll(const json& command) {
    fleet_.enroll(command.at("count").get<std::size_t>(), command.at("token").get<std::string>(),
                  command.value("connections", std::size_t{8}), answer);
  }
  void hold(const json& command) {
    fleet_.set_wait(command.value("wait", std::int64_t{55'000}));
    fleet_.hold(command.at("count").get<std::size_t>(), command.value("inFlight", std::size_t{100}),
                command.value("port", operators_.port), command.value("mute", false), answer);
  }
  void await_holding(const json& command) {
    fleet_.await_holding(command.at("count").get<std::size_t>(), answer);
  }
  void drop(const json& command) {
    fleet_.drop(command.value("forget", false));
    answer(json::object());
  }
  void counts(const json&) { answer(fleet_.counts()); }
  void clear(const json&) {
    fleet_.clear_counts();
    answer(json::object());
  }
  void nodes(const json& command) { answer({{"nodes", nodes_of(command)}}); }

  /// Nodes as they are named, or the first so many of ours.
  [[nodiscard]] std::vector<std::string> nodes_of(const json& command) const {
    if (command.contains("nodes")) return command["nodes"].get<std::vector<std::string>>();
    std::vector<std::string> nodes;
    const auto count = std::min(command.at("devices").get<std::size_t>(), fleet_.size());
    for (std::size_t i = 0; i < count; ++i) nodes.push_back(fleet_.node(i));
    if (nodes.empty()) throw std::runtime_error("there are no devices");
    return nodes;
  }
  [[nodiscard]] Order order_of(const json& command) const {
    Order order;
    order.nodes = nodes_of(command);
    order.type = command.value("type", order.type);
    order.data = command.value("data", order.data);
    return order;
  }
  [[nodiscard]] EnqueueJob::Plan plan_of(const json& command) const {
    return {order_of(command), command.value("connections", std::size_t{1}),
            command.value("tasks", std::int64_t{0}),
            Milliseconds(static_cast<std::int64_t>(command.value("seconds", 0.0) * 1000)), false};
  }

  void enqueue(const json& command) {
    const auto job = std::make_shared<EnqueueJob>(operators_, plan_of(command));
    const bool to_the_end = command.value("awaitStored", false);
    job->start([this, before = fleet_.stored(), begin = now(), to_the_end](const json& result) {
      if (!to_the_end) return answer(result);
      fleet_.await_stored(before + result.at("accepted").get<std::int64_t>(), [this, result, begin, before] {
        json whole = result;
        whole["secondsToStored"] = seconds_between(begin, now());
        whole["stored"] = fleet_.stored() - before;
        answer(whole);
      });
    });
  }
  void latency(const json& command) {
    LatencyJob::Plan plan{order_of(command), command.value("tasks", std::int64_t{100}),
                          command.value("warmUp", std::int64_t{10}), Milliseconds(command.value("pause", 0)),
                          command.value("toResult", false)};
    std::make_shared<LatencyJob>(operators_, fleet_, std::move(plan))->start(answer);
  }
  void pipeline(const json& command) {
    std::make_shared<PipelineJob>(operators_, plan_of(command))->start(answer);
  }
  void puts(const json& command) {
    BeanstalkJob::Plan plan{command.at("port").get<std::uint16_t>(),
                            command.value("connections", std::size_t{1}),
                            Milliseconds(static_cast<std::int64_t>(command.value("seconds", 1.0) * 1000)),
                            command.at("body").get<std::string>()};
    std::make_shared<BeanstalkJob>(loop_, std::move(plan))->start(answer);
  }

  EventLoop loop_;
  TlsClient tls_;
  Fleet fleet_;
  OperatorSurroundings operators_;
  std::string in_;
};

}  // namespace
}  // namespace agenttask::bench

int main(int count, char** words) {
  if (count != 3) {
    std::fputs("usage: bench_load PORT AUTHORITY_FILE\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  try {
    agenttask::bench::Program(static_cast<std::uint16_t>(std::stoul(words[1])),
                              agenttask::bench::read_file(words[2]))
        .run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_load: %s\n", error.what());
    return 1;
  }
  return 0;
}

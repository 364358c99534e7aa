#include "tests/bench/load/beanstalk.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include <nlohmann/json.hpp>

#include "tests/bench/load/samples.hpp"

namespace agenttask::bench {

class BeanstalkJob::Client final : public Watcher {
 public:
  explicit Client(BeanstalkJob& job) : job_(job) {}
  ~Client() {
    if (descriptor_ < 0) return;
    job_.loop_.forget(descriptor_, *this);
    ::close(descriptor_);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void connect() {
    descriptor_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(job_.plan_.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int yes = 1;
    ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (::connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      return job_.failed(std::string("connect: ") + std::strerror(errno));
    job_.loop_.watch(descriptor_, EPOLLIN, *this);
    put();
  }

  /// A put is smaller than what a socket takes at once.
  void put() {
    const auto text =
        "put 0 0 60 " + std::to_string(job_.plan_.body.size()) + "\r\n" + job_.plan_.body + "\r\n";
    if (::send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
      job_.failed(std::string("put: ") + std::strerror(errno));
  }

  void ready(std::uint32_t) override {
    std::array<char, 256> buffer;
    const auto bytes = ::recv(descriptor_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (bytes <= 0) return job_.failed("beanstalkd ended the connection");
    in_.append(buffer.data(), static_cast<std::size_t>(bytes));
    if (!in_.ends_with("\r\n")) return;
    if (!in_.starts_with("INSERTED ")) return job_.failed("beanstalkd says: " + in_);
    in_.clear();
    job_.inserted();
    if (job_.over()) return job_.gone();
    put();
  }

 private:
  BeanstalkJob& job_;
  int descriptor_ = -1;
  std::string in_;
};

BeanstalkJob::BeanstalkJob(EventLoop& loop, Plan plan) : loop_(loop), plan_(std::move(plan)) {}
BeanstalkJob::~BeanstalkJob() = default;

void BeanstalkJob::start(Done done) {
  done_ = std::move(done);
  self_ = shared_from_this();
  begun_ = now();
  open_ = plan_.connections;
  for (std::size_t i = 0; i < plan_.connections; ++i) {
    clients_.push_back(std::make_unique<Client>(*this));
    clients_.back()->connect();
  }
}

bool BeanstalkJob::over() const {
  return !problem_.empty() || now() - begun_ >= plan_.time;
}

void BeanstalkJob::inserted() {
  ++inserted_;
}

void BeanstalkJob::failed(const std::string& what) {
  if (problem_.empty()) problem_ = what;
  open_ = 1;  // nobody waits for the others then
  gone();
}

void BeanstalkJob::gone() {
  if (--open_ > 0) return;
  const double seconds = seconds_between(begun_, now());
  loop_.later([self = std::exchange(self_, {}), seconds] {
    if (!self) return;
    if (auto done = std::exchange(self->done_, {}))
      done({{"accepted", self->inserted_}, {"seconds", seconds}, {"problem", self->problem_}});
  });
}

}  // namespace agenttask::bench

#include "server/http/network.hpp"

#include <vector>

#include <boost/asio/post.hpp>

#include "server/http/connection.hpp"

namespace agenttask::server {

std::shared_ptr<const HttpLimits> Network::limits() const {
  const std::lock_guard lock(mutex_);
  return limits_;
}

void Network::use(const HttpLimits& limits) {
  auto fresh = std::make_shared<const HttpLimits>(limits);
  const std::lock_guard lock(mutex_);
  limits_ = std::move(fresh);
}

std::shared_ptr<TlsContext> Network::context() const {
  const std::lock_guard lock(mutex_);
  return context_;
}

void Network::use(std::shared_ptr<TlsContext> context) {
  const std::lock_guard lock(mutex_);
  context_.swap(context);
}

Admission Network::admit(const std::string& address) {
  const std::lock_guard lock(mutex_);
  const auto found = by_address_.find(address);
  const std::size_t from_there = found == by_address_.end() ? 0 : found->second;
  if (connections() < limits_->connections && from_there < limits_->connections_per_address) {
    ++by_address_[address];
    connections_.fetch_add(1, std::memory_order_relaxed);
    return Admission::served;
  }
  if (turned_away_ >= limits_->turned_away) return Admission::refused;
  ++turned_away_;
  return Admission::turned_away;
}

void Network::release(const std::string& address, Admission admission) {
  const std::lock_guard lock(mutex_);
  if (admission == Admission::turned_away) {
    --turned_away_;
  } else {
    const auto found = by_address_.find(address);
    if (--found->second == 0) by_address_.erase(found);
    connections_.fetch_sub(1, std::memory_order_relaxed);
  }
  if (connections() + turned_away_ == 0) empty_.notify_all();
}

bool Network::wait_until_empty(std::chrono::milliseconds grace) {
  std::unique_lock lock(mutex_);
  return empty_.wait_for(lock, grace, [this] { return connections() + turned_away_ == 0; });
}

bool Network::reserve(std::size_t bytes, std::size_t most) {
  if (buffered_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= most) return true;
  give_back(bytes);
  return false;
}

NetworkThread::NetworkThread(Network& network) : network_(network) {}

// NOLINTNEXTLINE(bugprone-exception-escape): join() throws only for threads that can't be joined
NetworkThread::~NetworkThread() {
  stop();
}

void NetworkThread::start() {
  thread_ = std::thread([this] { io_.run(); });
}

void NetworkThread::stop() {
  if (!thread_.joinable()) return;
  asio::post(io_, [this] {
    const std::vector<std::shared_ptr<Connection>> all(connections_.begin(), connections_.end());
    for (const auto& connection : all) connection->close();
    timer_.cancel();
    work_.reset();  // what was cancelled is still called back; then the loop ends by itself
  });
  thread_.join();
}

void NetworkThread::add(const std::shared_ptr<Connection>& connection) {
  connections_.insert(connection);
}

void NetworkThread::remove(const std::shared_ptr<Connection>& connection) {
  connections_.erase(connection);
}

void NetworkThread::drain() {
  const std::vector<std::shared_ptr<Connection>> all(connections_.begin(), connections_.end());
  for (const auto& connection : all) connection->drain();
}

void NetworkThread::set_deadline(Connection& connection, SteadyTime time) {
  clear_deadline(connection);
  connection.deadline = time;
  deadlines_.emplace(time, &connection);
  // Deadlines mostly move away: the timer is set again only for an earlier one, or when it rings in vain.
  if (time < armed_) arm();
}

void NetworkThread::clear_deadline(Connection& connection) {
  if (!connection.deadline) return;
  deadlines_.erase({*connection.deadline, &connection});
  connection.deadline.reset();
}

void NetworkThread::arm() {
  if (deadlines_.empty()) {
    armed_ = SteadyTime::max();
    return;
  }
  armed_ = deadlines_.begin()->first;
  timer_.expires_at(armed_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) expire();
  });
}

void NetworkThread::expire() {
  const auto now = std::chrono::steady_clock::now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    auto connection = deadlines_.begin()->second->shared_from_this();
    clear_deadline(*connection);
    connection->expire();
  }
  arm();
}

}  // namespace agenttask::server

#include "server/http/dispatcher.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "server/http/response_text.hpp"

namespace agenttask::server {
namespace {

Response overloaded(std::string detail) {
  return problem_response({503, "overloaded", std::move(detail)});
}

}  // namespace

/// The one queue to the readers. What comes from the network is bounded; what was parked is let in always, as
/// it was counted when it was parked.
class Dispatcher::Impl : public std::enable_shared_from_this<Dispatcher::Impl> {
 public:
  class Job;

  Impl(DispatcherOptions options, Evaluation evaluation, Mailboxes& mailboxes, const Clock& clock,
       Logger& logger)
      : options_(options),
        evaluation_(std::move(evaluation)),
        mailboxes_(mailboxes),
        clock_(clock),
        logger_(logger) {}

  void start();
  void stop();
  void handle(std::shared_ptr<Exchange> exchange);
  void release_waiting();
  /// Has a job that was admitted go on on a reader thread.
  void resume(std::shared_ptr<Job> job);

  [[nodiscard]] const Evaluation& evaluation() const { return evaluation_; }
  [[nodiscard]] Mailboxes& mailboxes() { return mailboxes_; }
  [[nodiscard]] MonotonicTime now() const { return clock_.monotonic(); }
  [[nodiscard]] Logger& logger() { return logger_; }
  [[nodiscard]] bool releasing() const { return releasing_.load(); }
  /// Counts a parked request in, unless there are too many.
  [[nodiscard]] bool admit_parked() {
    if (parked_.fetch_add(1) < options_.parked) return true;
    parked_.fetch_sub(1);
    return false;
  }
  void release_parked() { parked_.fetch_sub(1); }

 private:
  struct Queued {
    std::shared_ptr<Job> job;
    bool fresh;  ///< from the network
  };
  void work();

  const DispatcherOptions options_;
  const Evaluation evaluation_;
  Mailboxes& mailboxes_;
  const Clock& clock_;
  Logger& logger_;
  std::atomic<std::size_t> parked_{0};
  std::atomic<bool> releasing_{false};
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Queued> queue_;
  std::size_t fresh_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> readers_;
  std::jthread deadlines_;
};

/// One request on its way: on the queue, with a reader, with the writer, or parked; in one of these at a
/// time. Whoever has it holds it; the transport only watches it.
class Dispatcher::Impl::Job final : public ExchangeObserver, public std::enable_shared_from_this<Job> {
 public:
  Job(std::shared_ptr<Impl> impl, std::shared_ptr<Exchange> exchange)
      : impl_(std::move(impl)), exchange_(std::move(exchange)) {}

  /// On a reader thread.
  void run();

  void gone() override;
  void drained() override;

 private:
  enum class Place : std::uint8_t {
    moving,  ///< on the queue, with a reader or with the writer
    parked,  ///< in the mailboxes
    unsent,  ///< a stream whose peer has not taken the last piece
    over,
  };

  void conclude(Outcome outcome);
  void conclude_with(Response response);
  void conclude_with(Wait wait);
  void conclude_with(Stream stream);
  void conclude_with(NeedsWrite needed);
  void write();
  void continue_stream();
  /// After a piece: goes on when the peer took it, where there is more at hand; else when something is
  /// touched.
  void await_next(bool more);
  void park(const std::vector<std::string>& keys, MonotonicTime until);
  void woken(Mailboxes::Wake wake);
  void fail(std::string_view what);
  void log(int status) const;

  const std::shared_ptr<Impl> impl_;
  const std::shared_ptr<Exchange> exchange_;
  Mailboxes::Moment moment_ = 0;
  std::unique_ptr<Stream> stream_;  ///< few have one, and many wait
  bool then_writes_ = false;        ///< Wait's

  std::mutex mutex_;  // guards the rest
  Place place_ = Place::moving;
  std::uint64_t turn_ = 0;  ///< how often it was parked
  Mailboxes::WaiterId waiter_ = 0;
  std::shared_ptr<Job> self_;  ///< while unsent, when nobody else has it
  bool gone_ = false;
  bool timed_out_ = false;
  bool taken_ = true;  ///< the peer has taken all that was sent
};

void Dispatcher::Impl::Job::run() {
  {
    const std::lock_guard lock(mutex_);
    if (gone_) {
      place_ = Place::over;
      return;
    }
    const bool stream_over = stream_ && impl_->now() >= stream_->until;
    if (timed_out_ || stream_over || impl_->releasing()) exchange_->request()->may_wait = false;
  }
  // Before anything is read, so that no touch from now on is missed.
  moment_ = impl_->mailboxes().moment();
  try {
    if (stream_) {
      continue_stream();
    } else {
      conclude(impl_->evaluation().read(*exchange_->request()));
    }
  } catch (const std::exception& error) {
    fail(error.what());
  }
}

void Dispatcher::Impl::Job::fail(std::string_view what) {
  impl_->logger().error("a request failed", {{"path", exchange_->request()->path}, {"error", what}});
  conclude_with(problem_response({500, "internal", "the server failed on this request; its log says more"}));
}

void Dispatcher::Impl::Job::conclude(Outcome outcome) {
  std::visit([this](auto&& alternative) { conclude_with(std::forward<decltype(alternative)>(alternative)); },
             std::move(outcome));
}

void Dispatcher::Impl::Job::conclude_with(Response response) {
  {
    const std::lock_guard lock(mutex_);
    place_ = Place::over;
  }
  log(response.status);
  exchange_->respond(std::move(response));
}

void Dispatcher::Impl::Job::log(int status) const {
  if (!impl_->logger().enabled(LogLevel::debug)) return;
  const auto& request = *exchange_->request();
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(impl_->now() - request.received);
  impl_->logger().debug("answered", {{"method", request.method},
                                     {"path", request.path},
                                     {"status", status},
                                     {"ms", took.count()},
                                     {"peer", request.remote_address}});
}

void Dispatcher::Impl::Job::conclude_with(NeedsWrite needed) {
  exchange_->request()->prepared = std::move(needed.prepared);
  write();
}

void Dispatcher::Impl::Job::write() {
  auto done = [self = shared_from_this()](Outcome outcome) {
    if (std::holds_alternative<NeedsWrite>(outcome)) {
      self->fail("it was written and wants to be written again");
    } else {
      self->conclude(std::move(outcome));
    }
  };
  if (!impl_->evaluation().write(exchange_->request(), std::move(done))) {
    conclude_with(overloaded("the server has more to write than it can at the moment; try again"));
  }
}

void Dispatcher::Impl::Job::conclude_with(Wait wait) {
  if (!exchange_->request()->may_wait) return fail("it waits although its time is over");
  if (wait.prepared) {
    Request& request = *exchange_->request();
    request.prepared = std::move(wait.prepared);
    request.headers.clear();
    std::string().swap(request.body);
  }
  then_writes_ = wait.then_writes;
  park(wait.keys, wait.until);
}

void Dispatcher::Impl::Job::conclude_with(Stream stream) {
  log(stream.head.status);
  auto head = std::move(stream.head);
  stream_ = std::make_unique<Stream>(std::move(stream));
  {
    const std::lock_guard lock(mutex_);
    taken_ = false;
  }
  exchange_->start(std::move(head));
  await_next(true);  // asked at once for what follows, so that nothing is missed that came before
}

void Dispatcher::Impl::Job::continue_stream() {
  const bool last_call = !exchange_->request()->may_wait;
  auto piece = stream_->next(last_call);
  if (!piece.bytes.empty()) {
    {
      const std::lock_guard lock(mutex_);
      taken_ = false;
    }
    exchange_->send(std::move(piece.bytes));
  }
  if (!piece.complete && !(last_call && !piece.more)) return await_next(piece.more);
  {
    const std::lock_guard lock(mutex_);
    place_ = Place::over;
  }
  exchange_->finish();
}

void Dispatcher::Impl::Job::await_next(bool more) {
  if (!more) return park(stream_->keys, stream_->until);
  {
    const std::lock_guard lock(mutex_);
    if (gone_) {
      place_ = Place::over;
      return;
    }
    if (!taken_) {
      place_ = Place::unsent;
      self_ = shared_from_this();
      return;
    }
  }
  impl_->resume(shared_from_this());
}

void Dispatcher::Impl::Job::park(const std::vector<std::string>& keys, MonotonicTime until) {
  if (!impl_->admit_parked()) {
    if (stream_) return exchange_->finish();
    return conclude_with(overloaded("too many requests wait at this server; try again"));
  }
  std::uint64_t turn = 0;
  {
    const std::lock_guard lock(mutex_);
    place_ = Place::parked;
    waiter_ = 0;
    turn = ++turn_;
  }
  const auto waiter = impl_->mailboxes().park(
      keys, moment_, until, [self = shared_from_this()](Mailboxes::Wake wake) { self->woken(wake); },
      then_writes_);
  bool withdraw = impl_->releasing();
  {
    const std::lock_guard lock(mutex_);
    if (turn == turn_ && place_ == Place::parked) waiter_ = waiter;
    withdraw = withdraw || gone_;
  }
  // The stop, or the peer's going, may have come before there was anything to wake.
  if (withdraw && impl_->mailboxes().cancel(waiter)) woken(Mailboxes::Wake::timed_out);
}

void Dispatcher::Impl::Job::woken(Mailboxes::Wake wake) {
  impl_->release_parked();
  bool straight = false;
  {
    const std::lock_guard lock(mutex_);
    place_ = Place::moving;
    waiter_ = 0;
    timed_out_ = timed_out_ || wake == Mailboxes::Wake::timed_out;
    // A reader that has not taken the last piece yet gets the next one when it has.
    if (stream_ && !taken_ && !gone_) {
      place_ = Place::unsent;
      self_ = shared_from_this();
      return;
    }
    straight = then_writes_ && !timed_out_ && !gone_ && !impl_->releasing();
  }
  if (!straight) return impl_->resume(shared_from_this());
  moment_ = impl_->mailboxes().moment();  // as in run()
  write();
}

void Dispatcher::Impl::Job::drained() {
  std::shared_ptr<Job> self;
  {
    const std::lock_guard lock(mutex_);
    taken_ = true;
    if (place_ != Place::unsent) return;
    place_ = Place::moving;
    self = std::move(self_);
  }
  impl_->resume(std::move(self));
}

void Dispatcher::Impl::Job::gone() {
  Mailboxes::WaiterId waiter = 0;
  std::shared_ptr<Job> self;
  {
    const std::lock_guard lock(mutex_);
    if (place_ == Place::over) return;
    gone_ = true;
    waiter = std::exchange(waiter_, 0);
    self = std::move(self_);
    if (place_ == Place::unsent) place_ = Place::over;
  }
  if (waiter != 0 && impl_->mailboxes().cancel(waiter)) impl_->release_parked();
  impl_->evaluation().gone(*exchange_->request());
}

void Dispatcher::Impl::start() {
  for (std::size_t i = 0; i < options_.readers; ++i) readers_.emplace_back([this] { work(); });
  deadlines_ = std::jthread([this](const std::stop_token& stop) { mailboxes_.run(stop); });
}

void Dispatcher::Impl::stop() {
  deadlines_ = {};
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_all();
  for (auto& reader : readers_) reader.join();
  readers_.clear();
  release_waiting();  // lets go of what is parked still
  std::deque<Queued> left;
  const std::lock_guard lock(mutex_);
  left.swap(queue_);
}

void Dispatcher::Impl::handle(std::shared_ptr<Exchange> exchange) {
  auto job = std::make_shared<Job>(shared_from_this(), exchange);
  exchange->observe(job);
  {
    const std::lock_guard lock(mutex_);
    if (fresh_ < options_.queued && !stopping_) {
      queue_.push_back({std::move(job), true});
      ++fresh_;
      exchange.reset();
    }
  }
  if (exchange) return exchange->respond(overloaded("too many requests wait to be looked at; try again"));
  arrived_.notify_one();
}

void Dispatcher::Impl::resume(std::shared_ptr<Job> job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ && readers_.empty()) return;
    queue_.push_back({std::move(job), false});
  }
  arrived_.notify_one();
}

void Dispatcher::Impl::work() {
  while (true) {
    Queued next;
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      next = std::move(queue_.front());
      queue_.pop_front();
      if (next.fresh) --fresh_;
    }
    next.job->run();
  }
}

void Dispatcher::Impl::release_waiting() {
  releasing_.store(true);
  mailboxes_.expire_all();
}

Dispatcher::Dispatcher(DispatcherOptions options, Evaluation evaluation, Mailboxes& mailboxes,
                       const Clock& clock, Logger& logger)
    : impl_(std::make_shared<Impl>(options, std::move(evaluation), mailboxes, clock, logger)) {
  impl_->start();
}

Dispatcher::~Dispatcher() {
  impl_->stop();
}

void Dispatcher::handle(std::shared_ptr<Exchange> exchange) {
  impl_->handle(std::move(exchange));
}
void Dispatcher::release_waiting() {
  impl_->release_waiting();
}
void Dispatcher::stop() {
  impl_->stop();
}

}  // namespace agenttask::server

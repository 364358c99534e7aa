#include "server/store/writer.hpp"

#include <exception>
#include <future>
#include <iterator>

namespace agenttask::server {

Writer::Writer(std::unique_ptr<WriteSession> session, Touched touched, Logger& logger, Settings settings,
               Touched joined)
    : session_(std::move(session)),
      touched_(std::move(touched)),
      joined_(std::move(joined)),
      logger_(logger),
      settings_(settings),
      thread_([this] { work(); }) {}

Writer::~Writer() {
  stop();
}

Result<void> Writer::submit(Job job) {
  {
    const std::scoped_lock lock(mutex_);
    if (stopping_) return Error{ErrorCode::unavailable, "the server is stopping; try again"};
    if (queue_.size() >= settings_.queue_limit) {
      return Error{ErrorCode::unavailable, "the server has too many writes waiting; try again"};
    }
    queue_.push_back(std::move(job));
  }
  arrived_.notify_one();
  return {};
}

Result<void> Writer::run(const std::function<Result<void>(WriteStore&)>& job) {
  // Shared, as this thread may go on before the writer has let go of it.
  const auto promise = std::make_shared<std::promise<Result<void>>>();
  const auto outcome = std::make_shared<Result<void>>();
  auto answer = promise->get_future();
  auto accepted = submit({[&job, outcome](WriteStore& store) {
                            *outcome = job(store);
                            return outcome->has_value();
                          },
                          [promise, outcome](const Result<void>& committed) {
                            promise->set_value(committed.has_value() ? *outcome : committed);
                          }});
  if (!accepted) return accepted;
  return answer.get();
}

void Writer::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool Writer::healthy() const {
  const std::scoped_lock lock(mutex_);
  return healthy_;
}

void Writer::work() {
  for (;;) {
    std::vector<Job> group;
    {
      std::unique_lock lock(mutex_);
      arrived_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;  // stopping, and all is done
      take_waiting(group);
    }
    commit_group(group);
  }
}

void Writer::take_waiting(std::vector<Job>& group) {
  while (!queue_.empty() && group.size() < settings_.group_limit) {
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
}

void Writer::commit_group(std::vector<Job>& group) {
  std::vector<Result<void>> outcomes;
  std::vector<std::string> keys;
  const auto run_jobs = [&] {
    while (outcomes.size() < group.size()) outcomes.push_back(run_job(group[outcomes.size()]));
    auto touched = session_->take_touched();
    keys.insert(keys.end(), std::make_move_iterator(touched.begin()), std::make_move_iterator(touched.end()));
  };
  auto committed = session_->begin();
  if (committed) {
    run_jobs();
    if (joined_ && !keys.empty()) {
      joined_(keys);
      {
        const std::scoped_lock lock(mutex_);
        take_waiting(group);
      }
      run_jobs();
    }
    committed = session_->commit();
  }
  const auto actions = session_->take_actions();
  {
    const std::scoped_lock lock(mutex_);
    healthy_ = committed.has_value();
  }
  if (committed) {
    for (const auto& action : actions) action();
    if (!keys.empty()) touched_(keys);
  } else {
    logger_.error("cannot commit", {{"jobs", group.size()}, {"error", committed.error().message}});
  }
  for (std::size_t i = 0; i < group.size(); ++i) group[i].done(committed ? outcomes[i] : committed);
}

Result<void> Writer::run_job(Job& job) {
  if (auto begun = session_->begin_job(); !begun) return begun;
  bool keep = false;
  Result<void> outcome;
  try {
    keep = job.run(session_->store());
  } catch (const std::exception& fault) {
    outcome = Error{ErrorCode::internal, std::string("a write failed: ") + fault.what()};
    logger_.error("a write threw", {{"error", fault.what()}});
  }
  auto ended = session_->end_job(keep);
  return outcome ? ended : outcome;
}

}  // namespace agenttask::server

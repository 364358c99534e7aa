#include "agent/sync/retry_timer.hpp"

#include <utility>

#include "platform/protocol/problem.hpp"

namespace agenttask::agent {

using std::chrono::milliseconds;

namespace {

constexpr int kTooManyRequests = 429;
constexpr int kRequestTimeout = 408;

bool says_no(int status) {
  return status >= 400 && status < 500 && status != kTooManyRequests && status != kRequestTimeout;
}

bool is_refusal(net::HttpFailure failure) {
  return failure == net::HttpFailure::tls_client_refused || failure == net::HttpFailure::bad_request;
}

}  // namespace

std::optional<CallFailure> failure_of(const net::HttpResult& result, UnixMilliseconds now) {
  if (!result) {
    const net::HttpError& error = result.error();
    return CallFailure{.code = std::string(net::to_string(error.failure)),
                       .message = error.error.message,
                       .refused = is_refusal(error.failure),
                       .transport = true};
  }
  if (result->ok()) return std::nullopt;
  const Problem problem = decode_problem(result->status, result->body);
  return CallFailure{.code = problem.code,
                     .message = "the server answers " + std::to_string(result->status) + " (" + problem.code +
                                "): " + problem.detail,
                     .refused = says_no(result->status),
                     .certificate_expired = problem.code.find("expired") != std::string::npos,
                     .retry_after = result->retry_after(now).value_or(milliseconds(0))};
}

CallFailure failure_of(const Error& error) {
  return CallFailure{.code = std::string(to_string(error.code)), .message = error.message};
}

RetryTimer::RetryTimer(milliseconds first, milliseconds longest, std::function<double()> fraction)
    : longest_(longest), fraction_(fraction), backoff_(first, longest, std::move(fraction)) {}

void RetryTimer::reset() {
  backoff_.reset();
  next_ = MonotonicTime::min();
}

void RetryTimer::failed(MonotonicTime now, const CallFailure& failure) {
  const milliseconds spread = backoff_.next();
  const auto slow =
      longest_ / 2 +
      milliseconds(static_cast<long long>(fraction_() * static_cast<double>(longest_.count()) / 2));
  next_ = now + failure.retry_after + (failure.refused ? slow : spread);
}

}  // namespace agenttask::agent

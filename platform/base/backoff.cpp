#include "platform/base/backoff.hpp"

#include <algorithm>
#include <utility>

namespace agenttask {

Backoff::Backoff(std::chrono::milliseconds first, std::chrono::milliseconds limit, Fraction fraction)
    : first_(first), limit_(limit), fraction_(std::move(fraction)) {}

std::chrono::milliseconds Backoff::next(std::chrono::milliseconds at_least) {
  constexpr unsigned enough = 30;  // first * 2^30 is past every limit; more would overflow
  const auto ceiling =
      std::min<std::chrono::milliseconds>(limit_, first_ * (1LL << std::min(attempts_, enough)));
  attempts_ = std::min(attempts_ + 1, enough);
  return at_least + std::chrono::milliseconds(
                        static_cast<long long>(fraction_() * static_cast<double>(ceiling.count())));
}

}  // namespace agenttask

#include "platform/base/commit_point.hpp"

namespace agenttask {

// Alone in its file: a program that brings a body of its own does not link this one.
void at_commit_point(CommitPoint /*point*/, CommitMoment /*moment*/) noexcept {}

}  // namespace agenttask

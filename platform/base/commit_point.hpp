#pragma once
#include <cstdint>
#include <string_view>

namespace agenttask {

/// The name of something that becomes durable at one instant: the commit of a transaction, a file that takes
/// its place. A crash on either side of it must leave a promise whole, so each has a name, and tests kill the
/// program there (docs/testing.md). The lists are agent/ledger/commit_points.hpp and
/// server/store/commit_points.hpp.
struct CommitPoint {
  std::string_view name;  ///< of static lifetime
  friend bool operator==(const CommitPoint&, const CommitPoint&) = default;
};

enum class CommitMoment : std::uint8_t {
  before,  ///< all is prepared, nothing of it is durable
  after,   ///< it is durable, and nobody has heard of it
};

/// Called on the thread that commits. Does nothing: tests link programs of their own with another body in its
/// place, so that what is shipped holds no way to be ended here.
void at_commit_point(CommitPoint point, CommitMoment moment) noexcept;

/// A database is brought to another version of its tables, or gets its first.
inline constexpr CommitPoint kSchemaMigrated{"schema-migrated"};

/// Runs `action`, which returns a Result, between the two moments of `point`; a failure has no second one.
template <class Action>
auto commit_at(CommitPoint point, Action action) -> decltype(action()) {
  at_commit_point(point, CommitMoment::before);
  auto done = action();
  if (done) at_commit_point(point, CommitMoment::after);
  return done;
}

}  // namespace agenttask

#pragma once

namespace agenttask::test {

/// Whether this is Wine, which has no access rights of its own, to name one thing. What it can't show is
/// skipped there, and shown on Windows.
[[nodiscard]] bool is_wine();

}  // namespace agenttask::test

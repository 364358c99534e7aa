#pragma once
#include <optional>

#include "platform/os/posix/descriptor.hpp"

namespace agenttask::os {

/// SIGTERM, SIGINT and SIGHUP as something that can be waited for, instead of what they do otherwise. Private
/// to platform/os.

/// Takes these signals of the whole process, and ignores SIGPIPE. The descriptor is readable when one has
/// come. Called before any thread starts. Throws where the system refuses.
[[nodiscard]] Descriptor open_signals();
/// The number of one that has come; nothing when none has.
[[nodiscard]] std::optional<int> take_signal(const Descriptor& signals);

}  // namespace agenttask::os

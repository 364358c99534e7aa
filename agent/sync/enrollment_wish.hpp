#pragma once
#include <optional>
#include <string_view>

#include "agent/sync/identity.hpp"

namespace agenttask::agent {

/// Keeps the wish to enrol with the server at `url` on disk, with a key made for it, until that server has
/// answered. Nothing is kept (and none returned) where this very enrolment has been done already; a wish that
/// is kept already keeps its key, so that the same request gets the same answer. `name` may be empty: what
/// the device calls itself when the server is asked. `invalid` with field `url` or `token`; `limit` with
/// field `name`. The folder is the caller's alone meanwhile.
[[nodiscard]] Result<std::optional<PendingEnrollment>> keep_enrollment_wish(const IdentityFolder& folder,
                                                                            std::string_view url,
                                                                            std::string_view token,
                                                                            std::string_view name);

}  // namespace agenttask::agent

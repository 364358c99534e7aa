#pragma once
#include "platform/storage/database.hpp"

namespace agenttask::server::sqlite {

/// The tables of the server's database and how they came to be. A released migration never changes: a new one
/// follows it.
[[nodiscard]] const storage::Schema& schema();

}  // namespace agenttask::server::sqlite

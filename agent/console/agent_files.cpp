#include "agent/console/agent_files.hpp"

#include <array>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace agenttask::console {

namespace fs = std::filesystem;

Result<void> look_at_folder(const fs::path& folder) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (status.type() == fs::file_type::not_found) {
    return Error{ErrorCode::not_found, folder.string() + " does not exist"};
  }
  if (error) return Error{ErrorCode::denied, "cannot look at " + folder.string() + ": " + error.message()};
  if (!fs::is_directory(status)) return Error{ErrorCode::invalid, folder.string() + " is not a folder"};
  const fs::directory_iterator entries(folder, error);
  if (error) return Error{ErrorCode::denied, "cannot look into " + folder.string() + ": " + error.message()};
  return {};
}

Result<LedgerFile> look_at_ledger(const os::Folders& folders) {
  const fs::path file = folders.state / kLedgerFile;
  std::error_code error;
  if (!fs::exists(file, error)) {
    if (error) return Error{ErrorCode::denied, "cannot look at " + file.string() + ": " + error.message()};
    return Error{ErrorCode::not_found, file.string() + " does not exist"};
  }
  LedgerFile ledger;
  ledger.bytes = fs::file_size(file, error);
  // What was not yet moved into the file takes room beside it.
  fs::path log = file;
  const auto log_bytes = fs::file_size(log += "-wal", error);
  if (!error) ledger.bytes += log_bytes;
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  std::array<char, 16> head{};
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return Error{ErrorCode::denied, "cannot read " + file.string()};
  stream.read(head.data(), head.size());
  ledger.is_database = std::string_view(head.data(), static_cast<std::size_t>(stream.gcount())) == kMagic;
  return ledger;
}

Result<Enrolment> look_at_enrolment(const os::Folders& folders) {
  const agent::IdentityFolder folder(folders.state);
  auto identity = folder.identity();
  if (!identity) return identity.error();
  auto pending = folder.pending();
  if (!pending) return pending.error();
  return Enrolment{std::move(*identity), std::move(*pending)};
}

}  // namespace agenttask::console

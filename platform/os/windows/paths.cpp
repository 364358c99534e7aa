#include "platform/os/paths.hpp"

#include <memory>
#include <shlobj.h>
#include <system_error>
#include <windows.h>

#include "platform/base/encoding.hpp"
#include "platform/os/user_folder.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

struct FreeTask {
  void operator()(wchar_t* text) const { ::CoTaskMemFree(text); }
};

std::filesystem::path known_folder(const KNOWNFOLDERID& id) {
  wchar_t* text = nullptr;
  const HRESULT result = ::SHGetKnownFolderPath(id, KF_FLAG_DONT_VERIFY, nullptr, &text);
  const std::unique_ptr<wchar_t, FreeTask> holder(text);
  return SUCCEEDED(result) && text != nullptr ? std::filesystem::path(text) : std::filesystem::path();
}

/// Files have one name in whatever case it is written.
std::wstring without_case(std::wstring text) {
  ::CharLowerBuffW(text.data(), static_cast<DWORD>(text.size()));
  return text;
}

}  // namespace

std::string Folders::console_address() const {
  constexpr std::size_t kDigits = 16;
  const std::string pipe = "\\\\.\\pipe\\agenttask";
  if (runtime == default_folders().runtime) return pipe;
  // Pipes have a place of their own, apart from files: the folder is told by its name in there.
  return pipe + "-" + hex_encode(sha256(to_utf8(without_case(runtime.native())))).substr(0, kDigits);
}

Folders default_folders() {
  // Where not even the system says where this is: its place on every machine.
  auto data = known_folder(FOLDERID_ProgramData);
  if (data.empty()) data = L"C:\\ProgramData";
  const auto ours = data / L"AgentTask";
  return {ours, ours / L"state", ours / L"run"};
}

Folders folders_inside(const std::filesystem::path& folder) {
  std::error_code failed;
  auto whole = std::filesystem::absolute(folder, failed).lexically_normal();
  if (failed) whole = folder;
  if (!whole.has_filename()) whole = whole.parent_path();  // "x\" is "x"
  whole.make_preferred();
  return {whole, whole, whole / L"run"};
}

Result<std::filesystem::path> user_configuration_folder() {
  auto folder = known_folder(FOLDERID_RoamingAppData);
  if (!folder.empty()) return folder;
  return Error{ErrorCode::not_found, "Windows does not say where this user's settings are (%APPDATA%)"};
}

}  // namespace agenttask::os

#include "platform/os/windows/program.hpp"

#include <algorithm>
#include <array>
#include <cwctype>
#include <filesystem>
#include <optional>
#include <windows.h>

#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

namespace fs = std::filesystem;

bool equal_names(std::wstring_view left, std::wstring_view right) {
  return ::CompareStringOrdinal(left.data(), static_cast<int>(left.size()), right.data(),
                                static_cast<int>(right.size()), TRUE) == CSTR_EQUAL;
}

std::wstring variable(const Environment& environment, std::wstring_view wanted) {
  for (const auto& [name, value] : environment) {
    if (equal_names(to_wide(name), wanted)) return to_wide(value);
  }
  return {};
}

std::vector<std::wstring> split(std::wstring_view list) {
  std::vector<std::wstring> parts;
  std::wstring part;
  bool quoted = false;
  for (const wchar_t unit : list) {
    if (unit == L'"') {
      quoted = !quoted;
    } else if (unit == L';' && !quoted) {
      parts.push_back(std::move(part));
      part.clear();
    } else {
      part += unit;
    }
  }
  parts.push_back(std::move(part));
  return parts;
}

constexpr std::array<std::wstring_view, 4> kEndings{L".com", L".exe", L".bat", L".cmd"};

bool is_program_ending(std::wstring_view ending) {
  return std::any_of(kEndings.begin(), kEndings.end(),
                     [&](auto known) { return equal_names(ending, known); });
}

bool is_batch(const std::wstring& file) {
  // The system drops dots and blanks at the end of a name, so "x.bat ." is a batch file, too.
  const auto last = file.find_last_not_of(L". ");
  const std::wstring name = file.substr(0, last == std::wstring::npos ? 0 : last + 1);
  const std::wstring ending = fs::path(name).extension().wstring();
  return equal_names(ending, L".bat") || equal_names(ending, L".cmd");
}

/// The endings to try, as PATHEXT orders them: those of programs only, as others open with something else.
std::vector<std::wstring> endings(const Environment& environment) {
  std::vector<std::wstring> tried;
  for (auto& ending : split(variable(environment, L"PATHEXT"))) {
    if (is_program_ending(ending)) tried.push_back(std::move(ending));
  }
  if (tried.empty()) tried.assign(kEndings.begin(), kEndings.end());
  return tried;
}

/// Not a folder. Aliases of the Store are no regular files either, and run all the same.
bool is_file(const fs::path& file) {
  const DWORD attributes = ::GetFileAttributesW(file.c_str());
  return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) == 0;
}

std::optional<Program> as_program(const fs::path& base, const Environment& environment, bool any_ending) {
  const auto found = [](const fs::path& file) { return Program{file.wstring(), is_batch(file.wstring())}; };
  if ((any_ending || is_program_ending(base.extension().wstring())) && is_file(base)) return found(base);
  for (const auto& ending : endings(environment)) {
    fs::path file = base;
    file += ending;
    if (is_file(file)) return found(file);
  }
  return std::nullopt;
}

bool is_whole(const fs::path& folder) {
  return folder.has_root_name() && folder.has_root_directory();
}

}  // namespace

std::wstring system_folder() {
  std::array<wchar_t, MAX_PATH> folder{};
  const UINT length = ::GetSystemDirectoryW(folder.data(), static_cast<UINT>(folder.size()));
  return {folder.data(), std::min<std::size_t>(length, folder.size())};
}

std::wstring start_folder(const std::string& cwd) {
  if (!cwd.empty()) return fs::path(to_wide(cwd)).make_preferred().wstring();
  return fs::path(system_folder()).root_path().wstring();
}

Result<Program> find_program(const std::string& name, const std::string& cwd,
                             const Environment& environment) {
  const fs::path given = fs::path(to_wide(name)).make_preferred();
  if (name.find_first_of("/\\:") != std::string::npos) {
    if (given.has_root_name() && !given.has_root_directory()) {
      return Error{ErrorCode::invalid,
                   "cannot run " + name + ": a path on a drive needs a separator behind the colon", "argv"};
    }
    const fs::path whole = is_whole(given) ? given : fs::path(start_folder(cwd)) / given;
    if (auto program = as_program(whole, environment, true)) return *std::move(program);
    const DWORD attributes = ::GetFileAttributesW(whole.c_str());
    if (attributes != INVALID_FILE_ATTRIBUTES) {
      return Error{ErrorCode::denied, "cannot run " + name + ": it is not a file", "argv"};
    }
    return Error{ErrorCode::not_found, "cannot run " + name + ": there is no such file", "argv"};
  }
  const std::wstring path = variable(environment, L"PATH");
  for (const auto& folder : split(path)) {
    if (!is_whole(folder)) continue;
    if (auto program = as_program(fs::path(folder) / given, environment, false)) return *std::move(program);
  }
  return Error{ErrorCode::not_found,
               "cannot run " + name + ": there is no such program in PATH (" + to_utf8(path) +
                   "); what cmd.exe does itself, such as dir, needs a shell line",
               "argv"};
}

std::wstring make_environment_block(const std::vector<const Environment*>& variables,
                                    const std::string& run_id) {
  std::vector<std::pair<std::wstring, std::wstring>> entries;
  const auto put = [&](std::wstring name, std::wstring value) {
    const auto same = [&](const auto& entry) { return equal_names(entry.first, name); };
    const auto known = std::find_if(entries.begin(), entries.end(), same);
    if (known != entries.end()) {
      known->second = std::move(value);
    } else {
      entries.emplace_back(std::move(name), std::move(value));
    }
  };
  for (const Environment* some : variables) {
    for (const auto& [name, value] : *some) put(to_wide(name), to_wide(value));
  }
  if (!run_id.empty()) put(to_wide(kRunMarkVariable), to_wide(run_id));
  std::sort(entries.begin(), entries.end(), [](const auto& left, const auto& right) {
    return ::CompareStringOrdinal(left.first.c_str(), -1, right.first.c_str(), -1, TRUE) == CSTR_LESS_THAN;
  });
  std::wstring block;
  for (const auto& [name, value] : entries) {
    block += name;
    block += L'=';
    block += value;
    block += L'\0';
  }
  if (block.empty()) block += L'\0';
  return block + L'\0';
}

Result<std::filesystem::path> locate_program(const ProcessSpec& spec) {
  if (spec.argv.empty() || spec.argv.front().empty()) {
    return Error{ErrorCode::invalid, "cannot run a command without a program's name", "argv"};
  }
  auto program = find_program(spec.argv.front(), spec.cwd, spec.environment);
  if (!program) return program.error();
  return fs::path(program->file);
}

}  // namespace agenttask::os

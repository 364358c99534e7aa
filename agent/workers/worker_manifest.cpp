#include "agent/workers/worker_manifest.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/workers/builtin_workers.hpp"
#include "agent/workers/process_result.hpp"
#include "platform/base/error_text.hpp"
#include "platform/base/path_text.hpp"
#include "platform/os/process.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"
#include "platform/protocol/object_reader.hpp"

namespace agenttask::agent {
namespace {

using nlohmann::json;

constexpr std::size_t kMostNames = 100;
constexpr std::size_t kMostArguments = 256;
constexpr std::size_t kArgumentBytes = 64 * 1024;
constexpr std::size_t kUserBytes = 256;
constexpr std::string_view kHere = "./";

bool is_name(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

std::vector<std::string> read_names(ObjectReader& reader, const char* member) {
  auto names = reader.texts(member, kMostNames, limits::kTypeBytes, 1).value_or(std::vector<std::string>());
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (!is_name(name)) reader.refuse(member, "may have letters, digits, '_', '-' and '.' only");
    if (!seen.insert(name).second) reader.refuse(member, "names " + name + " twice");
    if (std::string_view(member) == "types" && is_built_in(name))
      reader.refuse(member, "can't have " + name + ": that worker is built in");
  }
  return names;
}

std::map<std::string, std::string> read_environment(ObjectReader& outer) {
  std::map<std::string, std::string> environment;
  const json* value = outer.object("environment");
  if (value == nullptr) return environment;
  if (value->size() > limits::kEnvironmentEntries) {
    outer.refuse("environment", "has more than " + std::to_string(limits::kEnvironmentEntries) + " entries",
                 ErrorCode::limit);
    return environment;
  }
  ObjectReader reader(*value, ObjectReader::Unknown::refuse, "environment");
  for (const auto& [name, unused] : value->items()) {
    if (auto text = reader.text(name, kArgumentBytes)) environment.emplace(name, std::move(*text));
  }
  if (auto error = reader.finish()) outer.refuse(std::move(*error));
  if (auto checked = os::check_environment(environment); !checked)
    outer.refuse("environment", checked.error().message);
  return environment;
}

std::string describe(const Error& error) {
  return with_field(error.field, error.message);
}

}  // namespace

Result<WorkerManifest> parse_worker_manifest(std::string_view text) {
  const auto value = parse_json(text);
  if (!value) return value.error();
  if (!value->is_object()) return Error{ErrorCode::invalid, "it must be a JSON object"};
  ObjectReader reader(*value, ObjectReader::Unknown::refuse);
  WorkerManifest manifest;
  manifest.types = read_names(reader, "types");
  manifest.services = read_names(reader, "services");
  reader.require("command");
  manifest.command =
      reader.texts("command", kMostArguments, kArgumentBytes).value_or(std::vector<std::string>());
  if (reader.has("command") && (manifest.command.empty() || manifest.command.front().empty()))
    reader.refuse("command", "must begin with the program to run");
  if (!manifest.command.empty()) {
    const std::string& program = manifest.command.front();
    const auto file = to_path(program);
    if (file.has_parent_path() && !file.is_absolute() && !program.starts_with(kHere))
      reader.refuse("command",
                    "must begin with a name from PATH, ./NAME in the worker's folder, or a whole path");
  }
  for (const std::string& argument : manifest.command) {
    if (argument.find('\0') != std::string::npos) reader.refuse("command", "must not contain NUL bytes");
  }
  manifest.validates = reader.boolean("validate").value_or(false);
  manifest.timeout = reader.integer("timeout", 1, limits::kTimeoutMilliseconds).value_or(0);
  manifest.environment = read_environment(reader);
  manifest.run_as = reader.text("runAs", kUserBytes, 1).value_or("");
  const json* schema = reader.object("dataSchema");
  if (manifest.types.empty() && manifest.services.empty() && !reader.failed())
    reader.refuse("types", "or services must be there: what this worker is for");
  if (auto error = reader.finish()) return *error;
  if (schema != nullptr) {
    auto parsed = DataSchema::parse(*schema);
    if (!parsed) return parsed.error();
    manifest.data_schema = *std::move(parsed);
  }
  return manifest;
}

Result<std::filesystem::path> locate_worker_program(const WorkerManifest& manifest) {
  os::ProcessSpec process;
  process.argv = manifest.command;
  process.cwd = manifest.folder.string();
  process.environment = manifest.environment;
  process.run_as = manifest.run_as;
  // A user that is not known may be tomorrow, when the network is there: the run says so.
  if (auto completed = complete_environment(process); !completed) {
    process.run_as.clear();
    if (completed = complete_environment(process); !completed) return completed.error();
  }
  return os::locate_program(process);
}

namespace {

void check_program(FoundWorker& found) {
  const std::string& program = found.manifest.command.front();
  if (const auto file = to_path(program); file.has_parent_path())
    found.program = found.manifest.folder / file;
  auto located = locate_worker_program(found.manifest);
  if (located) {
    found.program = *std::move(located);
    return;
  }
  found.problems.push_back(located.error().message);
  found.program_missing = true;
}

}  // namespace

FoundWorker read_worker(const std::filesystem::path& folder) {
  FoundWorker found;
  const auto whole = folder.has_filename() ? folder : folder.parent_path();
  found.manifest.folder = whole;
  found.manifest.name = whole.filename().string();
  const auto file = whole / kManifestFile;
  const auto note = [&](const Result<void>& checked) {
    if (!checked) found.problems.push_back(describe(checked.error()));
  };
  auto text = os::read_file(file, kManifestBytes);
  if (!text) {
    found.problems.push_back(text.error().code == ErrorCode::not_found
                                 ? "it has no " + std::string(kManifestFile)
                                 : describe(text.error()));
    return found;
  }
  found.text = *std::move(text);
  note(os::check_trusted(whole));
  note(os::check_trusted(file));
  auto manifest = parse_worker_manifest(found.text);
  if (!manifest) {
    found.problems.push_back(std::string(kManifestFile) + ": " + describe(manifest.error()));
    return found;
  }
  manifest->name = found.manifest.name;
  manifest->folder = found.manifest.folder;
  found.manifest = *std::move(manifest);
  const auto& command = found.manifest.command;
  for (std::size_t index = 0; index < command.size(); ++index) {
    if (!command[index].starts_with(kHere)) continue;
    // An argument may also be the name of something that is not there yet; of the program we say so below.
    const auto checked = os::check_trusted(whole / command[index].substr(kHere.size()));
    if (!checked && checked.error().code == ErrorCode::not_found) continue;
    note(checked);
  }
  check_program(found);
  return found;
}

}  // namespace agenttask::agent

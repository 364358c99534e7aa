#include "platform/settings/setting_catalog.hpp"

#include <algorithm>
#include <utility>

#include <CLI/CLI.hpp>

#include "platform/settings/configuration_file.hpp"

namespace agenttask::settings {
namespace {

std::string joined(const std::vector<std::string>& values) {
  std::string text;
  bool first = true;
  for (const auto& value : values) text += (std::exchange(first, false) ? "" : ",") + value;
  return text;
}

}  // namespace

SettingCatalog::SettingCatalog(ProgramNames program, std::vector<SettingInfo> settings)
    : program_(std::move(program)), settings_(std::move(settings)) {}

std::string SettingCatalog::variable(std::string_view name) const {
  std::string result = program_.variable_prefix;
  for (const char letter : name) {
    const bool small = letter >= 'a' && letter <= 'z';
    result += letter == '-' ? '_' : small ? static_cast<char>(letter - 'a' + 'A') : letter;
  }
  return result;
}

std::string SettingCatalog::flag_help(const SettingInfo& setting) const {
  return std::string(setting.help) +
         (setting.standard.empty() ? "" : " (default " + std::string(setting.standard) + ")") + " [" +
         variable(setting.name) + "]";
}

void SettingCatalog::add_flags(CLI::App& app, FlagValues& values) const {
  for (const auto& setting : settings_) add_flag(app, setting, values);
}

void SettingCatalog::add_flag(CLI::App& app, std::string_view name, FlagValues& values) const {
  for (const auto& setting : settings_) {
    if (setting.name == name) add_flag(app, setting, values);
  }
}

void SettingCatalog::add_flag(CLI::App& app, const SettingInfo& setting, FlagValues& values) const {
  std::string names = "--" + std::string(setting.name);
  if (!setting.alias.empty()) names += ",--" + std::string(setting.alias);
  const auto take = [&values, name = std::string(setting.name)](const std::vector<std::string>& given) {
    values[name] = joined(given);
  };
  app.add_option_function<std::vector<std::string>>(names, take, flag_help(setting))
      ->type_name(std::string(setting.value))
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(setting.list ? CLI::MultiOptionPolicy::TakeAll : CLI::MultiOptionPolicy::Throw);
}

Result<void> SettingCatalog::refuse(std::size_t index, ErrorCode code, std::string why,
                                    const Sink& sink) const {
  const std::string name(settings_[index].name);
  Error error{code, std::move(why), name};
  if (sink.spared == nullptr || !settings_[index].spared) return error;
  (void)sink.set(index, {});  // what another source said before does not take its place
  sink.spared->insert_or_assign(name, std::move(error));
  return {};
}

Result<void> SettingCatalog::apply_one(std::size_t index, std::string_view text, const std::string& source,
                                       const Sink& sink) const {
  // A source that counts before another one makes up for what is wrong there.
  if (sink.spared != nullptr) sink.spared->erase(std::string(settings_[index].name));
  if (text.find('\0') != std::string_view::npos)
    return refuse(index, ErrorCode::invalid, source + ": a zero byte in it", sink);
  if (auto done = sink.set(index, text); !done)
    return refuse(index, done.error().code, source + ": " + done.error().message, sink);
  return {};
}

Result<void> SettingCatalog::apply_file(const Sources& sources, const Sink& sink) const {
  const auto file = sources.file.string();
  const auto entries = parse_configuration(file, sources.configuration);
  if (!entries) return entries.error();
  for (const auto& entry : *entries) {
    const auto place = configuration_place(file, entry.line);
    const auto found = std::find_if(settings_.begin(), settings_.end(),
                                    [&](const SettingInfo& one) { return one.name == entry.name; });
    if (found == settings_.end()) {
      return Error{
          ErrorCode::invalid,
          place + ": there is no setting \"" + entry.name + "\"; `" + program_.help_command + "` lists them",
          entry.name};
    }
    const auto index = static_cast<std::size_t>(found - settings_.begin());
    auto done = entry.values.size() > 1 && !found->list
                    ? refuse(index, ErrorCode::invalid, place + ": " + entry.name + " takes one value", sink)
                    : apply_one(index, joined(entry.values), place + ": " + entry.name, sink);
    if (!done) return done;
  }
  return {};
}

Result<void> SettingCatalog::apply(const Sources& sources, const Set& set, SettingProblems* spared) const {
  const Sink sink{set, spared};
  for (std::size_t i = 0; i < settings_.size(); ++i) {
    const auto& setting = settings_[i];
    if (setting.standard.empty()) continue;
    if (auto done = apply_one(i, setting.standard, "default of " + std::string(setting.name), sink); !done)
      return done;
  }
  if (auto done = apply_file(sources, sink); !done) return done;
  for (std::size_t i = 0; i < settings_.size(); ++i) {
    const auto name = variable(settings_[i].name);
    const auto text = sources.environment(name);
    if (!text) continue;
    if (auto done = apply_one(i, *text, "environment " + name, sink); !done) return done;
  }
  for (std::size_t i = 0; i < settings_.size(); ++i) {
    const auto found = sources.flags.find(settings_[i].name);
    if (found == sources.flags.end()) continue;
    if (auto done = apply_one(i, found->second, "--" + found->first, sink); !done) return done;
  }
  return {};
}

std::string SettingCatalog::describe_with(const Get& get) const {
  std::string text;
  for (std::size_t i = 0; i < settings_.size(); ++i) {
    const auto value = get(i);
    const std::string name(settings_[i].name);
    if (value.empty()) {
      // Where there is a default, nothing is something that somebody set.
      text += (settings_[i].standard.empty() ? "# " : "") + name + " =\n";
    } else if (settings_[i].secret) {
      text += "# " + name + " = (set, not shown)\n";
    } else {
      text += name + " = " + configuration_value(value) + '\n';
    }
  }
  return text;
}

std::vector<std::string> SettingCatalog::need_restart_with(const Get& before, const Get& after) const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < settings_.size(); ++i) {
    if (!settings_[i].reloads && before(i) != after(i)) names.emplace_back(settings_[i].name);
  }
  return names;
}

}  // namespace agenttask::settings

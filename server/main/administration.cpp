#include "server/main/administration.hpp"

#include <algorithm>
#include <system_error>
#include <vector>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/net/certificate.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/settings/values.hpp"
#include "server/api/credentials.hpp"
#include "server/store/commit_points.hpp"
#include "server/store/writer.hpp"

namespace agenttask::server {
namespace {

constexpr std::size_t kPemBytes = 256 * 1024;

/// Runs one job on the database of a server that may be running.
Result<void> write_once(const StateFolder& state, Logger& logger,
                        const std::function<Result<void>(WriteStore&)>& job) {
  auto store = open_store(state);
  if (!store) return store.error();
  auto session = (*store)->write_session();
  if (!session) return session.error();
  Writer writer(
      std::move(*session), [](const auto&) {}, logger);
  return writer.run([&](WriteStore& writes) -> Result<void> {
    writes.commits(commit_point::kAdministered);
    return job(writes);
  });
}

Result<std::string> add_admin(const StateFolder& state, const std::string& label, const Clock& clock,
                              Logger& logger) {
  std::string token;
  auto done = write_once(state, logger, [&](WriteStore& store) -> Result<void> {
    token = create_operator(store, label, Role::admin, std::nullopt, "local", clock.wall()).token;
    return store.check();
  });
  if (!done) return done.error();
  return token;
}

Result<void> refuse_existing(const StateFolder& state) {
  const auto found = check_initialised(state);
  if (!found && found.error().code == ErrorCode::unavailable) return found;
  // An authority without its certificate is one whose making was cut off, and nobody trusts it yet.
  for (const auto& file : {state.authority() / "authority.pem", state.database()}) {
    std::error_code ignored;
    if (!std::filesystem::exists(std::filesystem::symlink_status(file, ignored))) continue;
    return Error{ErrorCode::conflict,
                 "there is a server in " + state.folder.string() + " already (" + file.filename().string() +
                     " exists), and nothing is overwritten; `agenttask-server operator reset` makes a new "
                     "admin token, --state-dir names another folder"};
  }
  return {};
}

Result<void> write_configuration(const StateFolder& state, const std::vector<std::string>& hosts) {
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::symlink_status(state.configuration, ignored))) return {};
  if (state.configuration.parent_path() != state.folder) {
    if (auto done = os::create_folder(state.configuration.parent_path(), os::Readable::by_everyone); !done)
      return done;
  }
  return os::write_file(state.configuration, first_configuration(hosts), os::Readable::by_everyone);
}

/// The id of a node that somebody named by id or name.
Result<std::string> find_node(const ReadStore& store, const std::string& name) {
  if (const auto node = store.node(name)) return node->id;
  const auto found = store.nodes_by_name(name);
  if (found.size() == 1) return found.front().id;
  if (found.empty()) return Error{ErrorCode::not_found, "--replace: there is no node \"" + name + "\""};
  std::string ids;
  for (const auto& node : found) ids += (ids.empty() ? "" : ", ") + node.id;
  return Error{ErrorCode::conflict,
               "--replace: several nodes are called \"" + name + "\"; name one by its id: " + ids};
}

/// By id, else by label: of those that are not revoked.
Result<OperatorRecord> find_operator(const ReadStore& store, const std::string& name) {
  if (auto record = store.operator_by_id(normalize_uuid(name))) return *record;
  std::vector<OperatorRecord> named;
  for (auto& record : store.operators()) {
    if (!record.revoked_at && record.label == name) named.push_back(std::move(record));
  }
  if (named.size() == 1) return named.front();
  if (named.empty()) {
    return Error{ErrorCode::not_found, "no operator that is not revoked has the id or label \"" + name +
                                           "\"; see `agenttask-server operator list`"};
  }
  std::string ids;
  for (const auto& record : named) ids += (ids.empty() ? "" : ", ") + record.id;
  return Error{ErrorCode::conflict,
               "several operators have the label \"" + name + "\"; name one by its id: " + ids};
}

std::filesystem::path authority_file(const StateFolder& state, const ServerSettings& settings) {
  return settings.certificate_authority.empty() ? state.authority() / "authority.pem"
                                                : settings.certificate_authority;
}

/// What devices and operators trust. Not through Authority::open, which would renew what the running server
/// shows.
Result<net::Certificate> shown_authority(const StateFolder& state, const ServerSettings& settings) {
  const auto shown = os::read_file(authority_file(state, settings), kPemBytes);
  if (!shown) return shown.error();
  return net::Certificate::from_pem(*shown);
}

std::string padded(std::string_view text, std::size_t width) {
  return std::string(text) + std::string(width - std::min(width, text.size()), ' ');
}

}  // namespace

Result<std::string> initialise(const CommandLine& line, const StateFolder& state,
                               const SettingSources& sources, const Clock& clock, Logger& logger) {
  const auto settings = read_settings(sources);
  if (!settings) return settings.error();
  if (auto done = os::create_folder(state.folder, os::Readable::by_owner); !done) return done.error();
  auto lock = os::FileLock::acquire(state.lock());
  if (!lock) return with_context(lock.error(), "cannot make a server in " + state.folder.string());
  if (auto done = refuse_existing(state); !done) return done.error();
  if (auto done = Authority::create(state.authority(), clock); !done) return done.error();
  if (auto done = write_configuration(state, server_names(*settings)); !done) return done.error();
  auto authority = open_authority(state, *settings, clock);
  if (!authority) return authority.error();
  if (line.without_admin) {
    if (auto store = open_store(state); !store) return store.error();
  }
  const auto token = line.without_admin ? Result<std::string>(std::string())
                                        : add_admin(state, "first admin", clock, logger);
  if (!token) return token.error();
  std::string names;
  for (const auto& name : server_names(*settings)) names += (names.empty() ? "" : ", ") + name;
  const bool elsewhere = !line.state_dir.empty();
  return "state folder   " + state.folder.string() + "\nconfiguration  " + state.configuration.string() +
         "\nauthority      " + (state.authority() / "authority.pem").string() + "\nfingerprint    " +
         hex_encode((*authority)->authority_fingerprint()) + "\nserver names   " + names +
         "\nnext           agenttask-server " + (line.without_admin ? "operator reset" : "run") +
         (elsewhere ? " --state-dir " + state.folder.string() : "") +
         (line.without_admin ? "\n" : "\n\nadmin token, shown this once:\n" + *token + '\n');
}

Result<std::string> create_token(const CommandLine& line, const StateFolder& state,
                                 const SettingSources& sources, const Clock& clock, Logger& logger) {
  if (auto done = check_initialised(state); !done) return done.error();
  const auto settings = read_settings(sources);
  if (!settings) return settings.error();
  const auto authority = shown_authority(state, *settings);
  if (!authority) return authority.error();
  std::string token;
  auto done = write_once(state, logger, [&](WriteStore& store) -> Result<void> {
    EnrollmentTokenRequest request{line.description, line.ttl, line.uses, line.labels, {}};
    if (!line.replace.empty()) {
      auto node = find_node(store, line.replace);
      if (!node) return node.error();
      request.replace_node = std::move(*node);
    }
    token = create_enrollment_token(store, std::move(request), authority->fingerprint_bytes(), "local",
                                    clock.wall())
                .token;
    return store.check();
  });
  if (!done) return done.error();
  return "good for " + settings::duration_text(line.ttl) + ", " + std::to_string(line.uses) +
         (line.uses == 1 ? " device" : " devices") + "; enrolment token, shown this once:\n" + token + '\n';
}

Result<std::string> reset_operator(const CommandLine& line, const StateFolder& state,
                                   const SettingSources& sources, const Clock& clock, Logger& logger) {
  if (auto done = check_initialised(state); !done) return done.error();
  const auto settings = read_settings(sources);
  if (!settings) return settings.error();
  const auto authority = shown_authority(state, *settings);
  if (!authority) return authority.error();
  if (line.operator_label.size() > kCredentialLabelBytes) {
    return Error{ErrorCode::invalid, "--label: at most " + std::to_string(kCredentialLabelBytes) + " bytes",
                 "--label"};
  }
  const auto token = add_admin(state, line.operator_label, clock, logger);
  if (!token) return token.error();
  const auto fingerprint = hex_encode(authority->fingerprint_bytes());
  return "authority      " + authority_file(state, *settings).string() + "\nfingerprint    " + fingerprint +
         "\nnext           agenttask fleet login https://" + server_names(*settings).front() + ":" +
         std::to_string(settings->port) + " --fingerprint " + fingerprint +
         "\n\nadmin token, shown this once; others stay good until they are revoked:\n" + *token + '\n';
}

Result<std::string> list_operators(const StateFolder& state, const Clock& clock) {
  if (auto done = check_initialised(state); !done) return done.error();
  auto store = open_store(state);
  if (!store) return store.error();
  const auto lease = (*store)->read();
  if (!lease) return lease.error();
  const auto operators = (*lease)->operators();
  if (auto read = (*lease)->check(); !read) return read.error();
  std::string text;
  for (const auto& record : operators) {
    const std::string_view validity = record.revoked_at                ? "revoked"
                                      : is_valid(record, clock.wall()) ? "valid"
                                                                       : "expired";
    text += record.id + "  " + padded(to_string(record.role), 8) + "  " + padded(validity, 7) + "  " +
            record.label + '\n';
  }
  return text;
}

Result<std::string> revoke_operator(const CommandLine& line, const StateFolder& state, const Clock& clock,
                                    Logger& logger) {
  if (auto done = check_initialised(state); !done) return done.error();
  OperatorRecord revoked;
  auto done = write_once(state, logger, [&](WriteStore& store) -> Result<void> {
    auto record = find_operator(store, line.operator_name);
    if (!record) return record.error();
    revoked = std::move(*record);
    if (!revoked.revoked_at) {
      if (is_last_admin(store, revoked, clock.wall())) {
        return Error{ErrorCode::conflict,
                     "this is the last admin whose token does not expire; make another one first: "
                     "agenttask-server operator reset"};
      }
      store.revoke_operator(revoked.id, clock.wall());
    }
    return store.check();
  });
  if (!done) return done.error();
  return "revoked  " + revoked.id + "  " + std::string(to_string(revoked.role)) + "  " + revoked.label + '\n';
}

Result<std::string> check_configuration(const SettingSources& sources) {
  const auto settings = read_settings(sources);
  if (!settings) return settings.error();
  if (!settings->certificate.empty()) {
    const auto pem = os::read_file(settings->certificate, kPemBytes);
    if (!pem) return with_context(pem.error(), "certificate");
    const auto key_pem = os::read_file(settings->private_key, kPemBytes);
    if (!key_pem) return with_context(key_pem.error(), "private-key");
    const auto chain = net::Certificate::list_from_pem(*pem);
    if (!chain) return with_context(chain.error(), "certificate " + settings->certificate.string());
    const auto key = net::PrivateKey::from_pem(*key_pem);
    if (!key) return with_context(key.error(), "private-key " + settings->private_key.string());
    if (!chain->front().matches(*key)) {
      return Error{ErrorCode::invalid, "private-key " + settings->private_key.string() +
                                           " does not belong to certificate " +
                                           settings->certificate.string()};
    }
  }
  return describe(*settings);
}

}  // namespace agenttask::server

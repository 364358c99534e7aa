#include "platform/os/windows/accounts.hpp"

#include <sddl.h>

#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

Sid well_known(WELL_KNOWN_SID_TYPE type) {
  std::vector<unsigned char> bytes(SECURITY_MAX_SID_SIZE);
  auto size = static_cast<DWORD>(bytes.size());
  if (::CreateWellKnownSid(type, nullptr, bytes.data(), &size) == 0) return {};
  return Sid(bytes.data());
}

/// What a token says under one heading; empty when it does not.
std::vector<unsigned char> read_token(HANDLE token, TOKEN_INFORMATION_CLASS heading) {
  DWORD size = 0;
  ::GetTokenInformation(token, heading, nullptr, 0, &size);
  std::vector<unsigned char> bytes(size);
  if (size == 0 || ::GetTokenInformation(token, heading, bytes.data(), size, &size) == 0) return {};
  return bytes;
}

Handle own_token() {
  HANDLE token = nullptr;
  ::OpenProcessToken(::GetCurrentProcess(), TOKEN_QUERY, &token);
  return Handle(token);
}

/// The name of this machine as accounts of its own carry it.
std::wstring machine_name() {
  std::wstring name(MAX_COMPUTERNAME_LENGTH + 1, L'\0');
  auto length = static_cast<DWORD>(name.size());
  name.resize(::GetComputerNameW(name.data(), &length) != 0 ? length : 0);
  return name;
}

/// Accounts whose names need no domain: built in, or of this machine.
bool is_local(const Sid& sid, const std::wstring& domain) {
  return !sid.text().starts_with("S-1-5-21-") || ::lstrcmpiW(domain.c_str(), machine_name().c_str()) == 0;
}

}  // namespace

Sid::Sid(PSID sid) {
  if (sid == nullptr || ::IsValidSid(sid) == 0) return;
  const auto* begin = static_cast<const unsigned char*>(sid);
  bytes_.assign(begin, begin + ::GetLengthSid(sid));
}

PSID Sid::get() const {
  return bytes_.empty() ? nullptr : const_cast<unsigned char*>(bytes_.data());
}

std::string Sid::text() const {
  wchar_t* text = nullptr;
  if (bytes_.empty() || ::ConvertSidToStringSidW(get(), &text) == 0) return {};
  std::string result = to_utf8(text);
  ::LocalFree(text);
  return result;
}

Sid system_sid() {
  return well_known(WinLocalSystemSid);
}

Sid administrators_sid() {
  return well_known(WinBuiltinAdministratorsSid);
}

Result<Sid> find_account(const std::string& name) {
  const std::wstring wide = to_wide(name);
  PSID given = nullptr;
  if (name.starts_with("S-1-") && ::ConvertStringSidToSidW(wide.c_str(), &given) != 0) {
    Sid sid(given);
    ::LocalFree(given);
    return sid;
  }
  std::vector<unsigned char> bytes(SECURITY_MAX_SID_SIZE);
  auto size = static_cast<DWORD>(bytes.size());
  std::wstring domain(256, L'\0');
  auto domain_length = static_cast<DWORD>(domain.size());
  SID_NAME_USE use = SidTypeUnknown;
  if (::LookupAccountNameW(nullptr, wide.c_str(), bytes.data(), &size, domain.data(), &domain_length, &use) ==
      0) {
    const DWORD code = ::GetLastError();
    if (code == ERROR_NONE_MAPPED)
      return Error{ErrorCode::not_found, "there is no account or group \"" + name + "\" on this machine"};
    return system_error("cannot look up the account or group \"" + name + "\"", code);
  }
  return Sid(bytes.data());
}

std::string account_name(const Sid& sid) {
  std::wstring name(256, L'\0');
  std::wstring domain(256, L'\0');
  auto name_length = static_cast<DWORD>(name.size());
  auto domain_length = static_cast<DWORD>(domain.size());
  SID_NAME_USE use = SidTypeUnknown;
  if (!sid.is_valid() || ::LookupAccountSidW(nullptr, sid.get(), name.data(), &name_length, domain.data(),
                                             &domain_length, &use) == 0) {
    return sid.text();
  }
  name.resize(name_length);
  domain.resize(domain_length);
  return is_local(sid, domain) ? to_utf8(name) : to_utf8(domain) + "\\" + to_utf8(name);
}

bool is_person(const Sid& sid) {
  const std::string text = sid.text();
  return text.starts_with("S-1-5-21-") || text.starts_with("S-1-12-1-");
}

Sid user_of(HANDLE token) {
  const auto bytes = read_token(token, TokenUser);
  return bytes.empty() ? Sid() : Sid(reinterpret_cast<const TOKEN_USER*>(bytes.data())->User.Sid);
}

std::vector<Sid> groups_of(HANDLE token) {
  const auto bytes = read_token(token, TokenGroups);
  std::vector<Sid> found;
  if (bytes.empty()) return found;
  const auto* groups = reinterpret_cast<const TOKEN_GROUPS*>(bytes.data());
  for (DWORD index = 0; index < groups->GroupCount; ++index) {
    const auto& group = groups->Groups[index];
    const bool counts = (group.Attributes & SE_GROUP_ENABLED) != 0 &&
                        (group.Attributes & (SE_GROUP_USE_FOR_DENY_ONLY | SE_GROUP_LOGON_ID)) == 0;
    if (counts) found.emplace_back(group.Sid);
  }
  return found;
}

Sid default_owner_of_this_process() {
  const auto token = own_token();
  const auto bytes = read_token(token.get(), TokenOwner);
  return bytes.empty() ? user_of(token.get())
                       : Sid(reinterpret_cast<const TOKEN_OWNER*>(bytes.data())->Owner);
}

Sid user_of_this_process() {
  return user_of(own_token().get());
}

}  // namespace agenttask::os

#include "platform/os/windows/access_rights.hpp"

#include <aclapi.h>
#include <array>
#include <sddl.h>

#include "platform/os/windows/system_error.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

// What SDDL calls these: full access for files, read and execute, and to walk through a folder and no more.
constexpr const char* kAll = "FA";
constexpr const char* kRead = "0x1200a9";
constexpr const char* kWalkThrough = "0x1000a0";

std::string entry(std::string_view inherited, std::string_view rights, std::string_view account) {
  std::string text = "(A;";
  return text.append(inherited).append(";").append(rights).append(";;;").append(account).append(")");
}

/// The entries of those who may do everything.
std::string full_access(std::string_view inherited) {
  std::string text = entry(inherited, kAll, "SY") + entry(inherited, kAll, "BA");
  const Sid user = user_of_this_process();
  const bool is_said_already = !user.is_valid() || user == system_sid() || user == administrators_sid();
  return is_said_already ? text : text + entry(inherited, kAll, user.text());
}

std::string text_of_list(PSECURITY_DESCRIPTOR descriptor) {
  wchar_t* text = nullptr;
  if (::ConvertSecurityDescriptorToStringSecurityDescriptorW(
          descriptor, SDDL_REVISION_1, DACL_SECURITY_INFORMATION, &text, nullptr) == 0) {
    return {};
  }
  std::string list = to_utf8(text);
  ::LocalFree(text);
  // How the list came there (AI, AR) is no part of what it says.
  const auto begin = list.find('(');
  const auto flags = list.substr(0, begin);
  return (flags.find('P') != std::string::npos ? "D:P" : "D:") +
         (begin == std::string::npos ? std::string() : list.substr(begin));
}

const Sid& installer_sid() {
  static const Sid sid = [] {
    auto found = find_account("S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464");
    return found ? *found : Sid();
  }();
  return sid;
}

}  // namespace

Result<AccessRights> AccessRights::from_text(const std::string& text) {
  PSECURITY_DESCRIPTOR descriptor = nullptr;
  if (::ConvertStringSecurityDescriptorToSecurityDescriptorW(to_wide(text).c_str(), SDDL_REVISION_1,
                                                             &descriptor, nullptr) == 0) {
    auto error = system_error("cannot make access rights of " + text, ::GetLastError());
    error.code = ErrorCode::internal;
    return error;
  }
  AccessRights rights;
  rights.descriptor_.reset(descriptor);
  rights.attributes_.lpSecurityDescriptor = descriptor;
  return rights;
}

ACL* AccessRights::list() const {
  BOOL present = FALSE;
  BOOL defaulted = FALSE;
  ACL* list = nullptr;
  ::GetSecurityDescriptorDacl(descriptor_.get(), &present, &list, &defaulted);
  return list;
}

std::string AccessRights::list_text() const {
  return text_of_list(descriptor_.get());
}

Result<AccessRights> rights_of_folder(Readable readable) {
  std::string text = "D:P" + full_access("OICI");
  if (readable == Readable::passable) text += entry("", kWalkThrough, "BU");
  if (readable == Readable::by_everyone) text += entry("OICI", kRead, "BU");
  return AccessRights::from_text(text);
}

Result<AccessRights> rights_of_file(Readable readable) {
  std::string text = "D:P" + full_access("");
  if (readable == Readable::by_everyone) text += entry("", kRead, "BU");
  return AccessRights::from_text(text);
}

std::string list_text_of(HANDLE file) {
  PSECURITY_DESCRIPTOR descriptor = nullptr;
  if (::GetSecurityInfo(file, SE_FILE_OBJECT, DACL_SECURITY_INFORMATION, nullptr, nullptr, nullptr, nullptr,
                        &descriptor) != ERROR_SUCCESS) {
    return {};
  }
  const std::unique_ptr<void, FreeLocal> owner(descriptor);
  return text_of_list(descriptor);
}

Sid owner_of(HANDLE object, bool is_file) {
  PSECURITY_DESCRIPTOR descriptor = nullptr;
  PSID owner = nullptr;
  if (::GetSecurityInfo(object, is_file ? SE_FILE_OBJECT : SE_KERNEL_OBJECT, OWNER_SECURITY_INFORMATION,
                        &owner, nullptr, nullptr, nullptr, &descriptor) != ERROR_SUCCESS) {
    return {};
  }
  const std::unique_ptr<void, FreeLocal> holder(descriptor);
  return Sid(owner);
}

bool is_trusted(const Sid& account) {
  return account.is_valid() && (account == user_of_this_process() || account == system_sid() ||
                                account == administrators_sid() || account == installer_sid());
}

bool is_trusted_owner(const Sid& owner) {
  // What we make belongs to our default owner: Administrators or ourselves, and under Wine a group of its
  // own.
  return is_trusted(owner) || (owner.is_valid() && owner == default_owner_of_this_process());
}

std::string stranger_with(HANDLE file, DWORD rights) {
  PSECURITY_DESCRIPTOR descriptor = nullptr;
  ACL* list = nullptr;
  if (::GetSecurityInfo(file, SE_FILE_OBJECT, DACL_SECURITY_INFORMATION, nullptr, nullptr, &list, nullptr,
                        &descriptor) != ERROR_SUCCESS) {
    return {};
  }
  const std::unique_ptr<void, FreeLocal> holder(descriptor);
  if (list == nullptr) return "everybody";
  // Generic rights stand in lists that nobody mapped yet: they hold the special ones.
  if ((rights & FILE_WRITE_DATA) != 0) rights |= GENERIC_WRITE;
  if ((rights & FILE_READ_DATA) != 0) rights |= GENERIC_READ;
  rights |= GENERIC_ALL;
  for (DWORD index = 0; index < list->AceCount; ++index) {
    void* entry_bytes = nullptr;
    if (::GetAce(list, index, &entry_bytes) == 0) continue;
    const auto* header = static_cast<const ACE_HEADER*>(entry_bytes);
    if (header->AceType != ACCESS_ALLOWED_ACE_TYPE || (header->AceFlags & INHERIT_ONLY_ACE) != 0) continue;
    auto* allowed = static_cast<ACCESS_ALLOWED_ACE*>(entry_bytes);
    const Sid account(static_cast<PSID>(&allowed->SidStart));
    // OWNER RIGHTS and CREATOR OWNER are whoever owns it, and that is looked at by itself.
    const bool is_owner = account.text() == "S-1-3-4" || account.text() == "S-1-3-0";
    if ((allowed->Mask & rights) != 0 && !is_owner && !is_trusted(account)) return account_name(account);
  }
  return {};
}

}  // namespace agenttask::os

#include "platform/os/outliving.hpp"

#include <chrono>
#include <fstream>
#include <thread>
#include <windows.h>

#include <gtest/gtest.h>

#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/wide.hpp"
#include "tests/component/os/windows/child_program.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::os {
namespace {

using namespace std::chrono_literals;

/// A process that no job of ours holds, as a service is started.
class Service {
 public:
  explicit Service(const std::vector<std::string>& words) {
    std::wstring line;
    for (const auto& word : child_argv(words)) line += L"\"" + to_wide(word) + L"\" ";
    ::SetEnvironmentVariableW(to_wide(kChildVariable).c_str(), L"1");
    STARTUPINFOW start{};
    start.cb = sizeof start;
    PROCESS_INFORMATION made{};
    EXPECT_TRUE(
        ::CreateProcessW(nullptr, line.data(), nullptr, nullptr, FALSE, 0, nullptr, nullptr, &start, &made));
    ::SetEnvironmentVariableW(to_wide(kChildVariable).c_str(), nullptr);
    process_ = Handle(made.hProcess);
    const Handle thread(made.hThread);
  }
  ~Service() { kill(); }
  void kill() {
    ::TerminateProcess(process_.get(), 1);
    ::WaitForSingleObject(process_.get(), 10'000);
  }

 private:
  Handle process_;
};

/// What a file holds once it has a whole line.
std::string await_line(const std::filesystem::path& file) {
  for (const auto until = std::chrono::steady_clock::now() + 30s; std::chrono::steady_clock::now() < until;) {
    std::ifstream stream(file);
    std::string line;
    if (std::getline(stream, line) && !stream.eof()) return line;
    std::this_thread::sleep_for(10ms);
  }
  return {};
}

std::filesystem::path image_of(HANDLE process) {
  std::wstring name(32'768, L'\0');
  auto length = static_cast<DWORD>(name.size());
  if (::QueryFullProcessImageNameW(process, 0, name.data(), &length) == 0) return {};
  name.resize(length);
  return name;
}

TEST(WindowsOutliving, GoesOnFromACopyWhenWhatStartedItIsKilled) {
  const test::TemporaryFolder folder;
  Service agent({"leave-apart", to_utf8(folder.path().native())});
  const std::string pid = await_line(folder.path() / "pid");
  ASSERT_FALSE(pid.empty());
  const Handle left(::OpenProcess(SYNCHRONIZE | PROCESS_TERMINATE | PROCESS_QUERY_LIMITED_INFORMATION, FALSE,
                                  static_cast<DWORD>(std::stoul(pid))));
  ASSERT_TRUE(left.is_open());
  agent.kill();
  EXPECT_EQ(::WaitForSingleObject(left.get(), 300), WAIT_TIMEOUT) << "it ended with what started it";
  std::error_code unknown;
  EXPECT_TRUE(std::filesystem::equivalent(image_of(left.get()).parent_path(), folder.path(), unknown))
      << "an upgrade could not replace the agent's own program while that runs";
  ::TerminateProcess(left.get(), 0);
  ::WaitForSingleObject(left.get(), 10'000);
}

TEST(WindowsOutliving, SaysWhereItLivesAndWhatItCanNotStart) {
  EXPECT_EQ(outliving_status().means, OutlivingMeans::own_session);
  const auto own = own_program();
  ASSERT_TRUE(own);
  EXPECT_TRUE(std::filesystem::exists(*own));
  ProcessSupervisor supervisor;
  EXPECT_EQ(supervisor.launch_apart({"C:\\no such program.exe"}).error().code, ErrorCode::not_found);
  const test::TemporaryFolder folder;
  EXPECT_FALSE(launch_outliving(supervisor, {.name = "test",
                                             .description = "a test",
                                             .argv = {"C:\\no such program.exe"},
                                             .folder = folder.path()}));
}

}  // namespace
}  // namespace agenttask::os

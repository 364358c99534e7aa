// How libFuzzer feeds a target: `fuzz --target=NAME …`. Built with clang only (the preset `fuzz`).
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/target.hpp"

namespace {

constexpr std::string_view kTarget = "--target=";

const agenttask::fuzz::Target*& chosen() {
  static const agenttask::fuzz::Target* target = nullptr;
  return target;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);

// libFuzzer leaves arguments with two dashes to us, and reads the others after this.
int LLVMFuzzerInitialize(int* count, char*** arguments) {
  for (int i = 1; i < *count; ++i) {
    const std::string_view argument((*arguments)[i]);
    if (argument.starts_with(kTarget))
      chosen() = agenttask::fuzz::find_target(argument.substr(kTarget.size()));
  }
  if (chosen() == nullptr) {
    std::fprintf(stderr, "fuzz: say which with --target=NAME:\n");
    for (const auto& target : agenttask::fuzz::targets())
      std::fprintf(stderr, "  %s\n", std::string(target.name).c_str());
    std::exit(2);
  }
  // A file is tried whole.
  for (int i = 1; i < *count; ++i) {
    if (std::filesystem::is_regular_file((*arguments)[i])) return 0;
  }
  static std::string most = "-max_len=" + std::to_string(chosen()->most_bytes);
  static std::vector<char*> all(*arguments, *arguments + *count);
  all.insert(all.begin() + 1, most.data());  // before what was given, which counts more
  *arguments = all.data();
  *count = static_cast<int>(all.size());
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  chosen()->run({reinterpret_cast<const char*>(bytes), size});
  return 0;
}

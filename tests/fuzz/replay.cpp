// The everyday driver of the fuzz targets: every seed, and a fixed number of mutations of them, the same ones
// each time. `./dev fuzz` searches; this holds what was found.
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "tests/fuzz/target.hpp"

namespace agenttask::fuzz {
namespace {

/// SplitMix64: the same numbers on every machine.
class Numbers {
 public:
  explicit Numbers(std::string_view name) {
    for (const char letter : name) state_ = state_ * 31 + static_cast<unsigned char>(letter);
  }
  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : next() % bound; }

 private:
  std::uint64_t next() {
    std::uint64_t mixed = state_ += 0x9E3779B97F4A7C15U;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
    return mixed ^ (mixed >> 31U);
  }
  std::uint64_t state_ = 1;
};

/// What parsers stumble over.
constexpr std::array<std::string_view, 40> kWords{{"\"",
                                                   "{",
                                                   "}",
                                                   "[",
                                                   "]",
                                                   ",",
                                                   ":",
                                                   "null",
                                                   "true",
                                                   "{}",
                                                   "[]",
                                                   "\\u0000",
                                                   "\\ud800",
                                                   "\\",
                                                   "-",
                                                   "0",
                                                   "-1",
                                                   "9223372036854775807",
                                                   "9223372036854775808",
                                                   "18446744073709551616",
                                                   "1e400",
                                                   "5e-324",
                                                   "0.1",
                                                   "%00",
                                                   "%2f",
                                                   "..",
                                                   "/",
                                                   "?",
                                                   "&",
                                                   "=",
                                                   "#",
                                                   "\r\n",
                                                   "\n",
                                                   " ",
                                                   "\x7f",
                                                   "\xc3\xa4",
                                                   "\xe2\x80\xae",
                                                   "\xf0\x9f\x98\x80",
                                                   "\xc0\x80",
                                                   "\xed\xa0\x80"}};

void mutate_once(std::string& bytes, const std::vector<std::string>& seeds, Numbers& numbers) {
  const std::size_t at = numbers.below(bytes.size() + 1);
  const std::size_t span = numbers.below(std::min<std::size_t>(bytes.size() - at, 16) + 1);
  switch (numbers.below(8)) {
    case 0:
      if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << numbers.below(8)));
      break;
    case 1:
      if (at < bytes.size()) bytes[at] = static_cast<char>(numbers.below(256));
      break;
    case 2:
      bytes.erase(at, span);
      break;
    case 3:
      bytes.insert(at, bytes.substr(at, span));
      break;
    case 4:
      bytes.insert(at, std::string(1, static_cast<char>(numbers.below(256))));
      break;
    case 5: {
      const auto& other = seeds[numbers.below(seeds.size())];
      const std::size_t from = numbers.below(other.size() + 1);
      bytes.replace(at, span, other.substr(from, numbers.below(64)));
      break;
    }
    case 6:
      bytes.resize(at);
      break;
    default:
      bytes.replace(at, span, kWords[numbers.below(kWords.size())]);
      break;
  }
}

std::string read_whole(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + file.string());
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// What is tried now, where it outlives the process that tries it.
struct Attempt {
  static constexpr std::size_t kMost = std::size_t{4} * 1024 * 1024;
  std::size_t size = 0;
  std::array<char, kMost> bytes{};
};

/// A hang is a find too.
constexpr unsigned kLongestSeconds = 30;

void attempt(const Target& target, const std::string& bytes, Attempt& kept) {
  kept.size = bytes.copy(kept.bytes.data(), Attempt::kMost);
  ::alarm(kLongestSeconds);
  target.run(bytes);
}

std::vector<std::string> read_seeds(const Target& target) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(AGENTTASK_FUZZ_SEEDS) / target.name))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> seeds;
  for (const auto& file : files) seeds.push_back(read_whole(file));
  if (seeds.empty()) throw std::runtime_error("no seeds for " + std::string(target.name));
  return seeds;
}

void replay(const Target& target, std::size_t mutations, Attempt& kept) {
  const auto seeds = read_seeds(target);
  for (const auto& seed : seeds) attempt(target, seed, kept);
  Numbers numbers(target.name);
  for (std::size_t i = 0; i < mutations; ++i) {
    std::string bytes = seeds[i % seeds.size()];
    for (std::size_t more = 1 + numbers.below(6); more > 0; --more) mutate_once(bytes, seeds, numbers);
    bytes.resize(std::min(bytes.size(), target.most_bytes));
    attempt(target, bytes, kept);
  }
  std::printf("%s: %zu seeds, %zu mutations\n", std::string(target.name).c_str(), seeds.size(), mutations);
}

/// Does the work in a process of its own; when that ends badly, however it does, its last bytes are kept.
int watch(const Target& target, const std::function<void(Attempt&)>& work) {
  void* shared = ::mmap(nullptr, sizeof(Attempt), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw std::runtime_error("no memory");
  auto* kept = new (shared) Attempt;
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    work(*kept);
    std::exit(0);  // NOLINT(concurrency-mt-unsafe): what targets made for themselves is taken down
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  const std::string file = "fuzz-find-" + std::string(target.name);
  std::ofstream(file, std::ios::binary).write(kept->bytes.data(), static_cast<std::streamsize>(kept->size));
  std::fprintf(stderr, "fuzz: %s: the bytes are in the file %s: fuzz %s %s\n",
               std::string(target.name).c_str(), file.c_str(), std::string(target.name).c_str(),
               file.c_str());
  return 1;
}

/// Each target has seeds, and nothing else has.
int check() {
  std::size_t folders = 0;
  for (const auto& entry : std::filesystem::directory_iterator(AGENTTASK_FUZZ_SEEDS)) {
    const auto name = entry.path().filename().string();
    if (find_target(name) == nullptr) throw std::runtime_error("seeds of no target: " + name);
    ++folders;
  }
  for (const auto& target : targets()) (void)read_seeds(target);
  std::printf("%zu targets\n", folders);
  return 0;
}

int run(const std::vector<std::string_view>& arguments) {
  if (arguments.size() == 1 && arguments.front() == "--check") return check();
  const auto* target = arguments.empty() ? nullptr : find_target(arguments.front());
  if (target == nullptr || arguments.size() > 2) {
    std::fprintf(stderr, "usage: fuzz TARGET [MUTATIONS | FILE] | --check\n");
    for (const auto& one : targets())
      std::fprintf(stderr, "  %-20s %s\n", std::string(one.name).c_str(), std::string(one.covers).c_str());
    return 2;
  }
  std::size_t mutations = 0;
  if (arguments.size() == 2) {
    const auto text = arguments.back();
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), mutations);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
      target->run(read_whole(text));
      return 0;
    }
  }
  return watch(*target, [&](Attempt& kept) { replay(*target, mutations, kept); });
}

}  // namespace
}  // namespace agenttask::fuzz

int main(int count, char** arguments) {
  try {
    return agenttask::fuzz::run({arguments + 1, arguments + count});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fuzz: %s\n", error.what());
    return 2;
  }
}

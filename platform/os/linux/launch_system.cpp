#include "platform/os/posix/launch_system.hpp"

#include <cerrno>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace agenttask::os {
namespace {

// The thread sanitizer keeps book of what a thread calls, and takes the child for its parent's thread.
#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(__SANITIZE_THREAD__)

/// clone3 with a stack for the child, which the C library has for itself alone: a child that came back from a
/// call of it on our own stack would overwrite where we return to.
long clone_onto_stack(clone_args& arguments, void (*begin)(void*), void* argument) {
#if defined(__x86_64__)
  long result = SYS_clone3;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%rdx, %%rdi\n\t"
      "call *%%rbx\n\t"
      "ud2\n"
      "1:"
      : "+a"(result)
      : "D"(&arguments), "S"(sizeof arguments), "b"(begin), "d"(argument)
      : "rcx", "r11", "memory", "cc");
  return result;
#else
  register long number asm("x8") = SYS_clone3;
  register long result asm("x0") = reinterpret_cast<long>(&arguments);
  register long size asm("x1") = sizeof arguments;
  register void (*function)(void*) asm("x2") = begin;
  register void* parameter asm("x3") = argument;
  asm volatile(
      "svc #0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x29, xzr\n\t"
      "mov x0, x3\n\t"
      "blr x2\n\t"
      "brk #1\n"
      "1:"
      : "+r"(result)
      : "r"(number), "r"(size), "r"(function), "r"(parameter)
      : "memory", "cc");
  return result;
#endif
}

#else

long clone_onto_stack(clone_args&, void (*)(void*), void*) {
  return -ENOSYS;
}

#endif

/// Memory of the child's own, given back as soon as it runs its program.
class ChildStack {
 public:
  static constexpr std::size_t kBytes = 64 * 1024;

  ChildStack()
      : begin_(::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1,
                      0)) {}
  ~ChildStack() {
    if (is_there()) ::munmap(begin_, kBytes);
  }
  ChildStack(const ChildStack&) = delete;
  ChildStack& operator=(const ChildStack&) = delete;
  [[nodiscard]] bool is_there() const { return begin_ != MAP_FAILED; }
  [[nodiscard]] void* begin() const { return begin_; }

 private:
  void* begin_;
};

}  // namespace

pid_t start_in_group(int group, void (*begin)(void*), void* argument) {
  const ChildStack stack;
  if (!stack.is_there()) return -1;
  clone_args arguments{};
  arguments.flags = CLONE_VM | CLONE_VFORK | CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.stack = reinterpret_cast<std::uintptr_t>(stack.begin());
  arguments.stack_size = ChildStack::kBytes;
  arguments.cgroup = static_cast<std::uint64_t>(group);
  const long result = clone_onto_stack(arguments, begin, argument);
  if (result > 0) return static_cast<pid_t>(result);
  errno = static_cast<int>(-result);
  return -1;
}

bool enter(int group) {
  const int entry = ::openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC);
  return entry >= 0 && ::write(entry, "0", 1) == 1;
}

bool become(const gid_t* groups, std::size_t group_count, gid_t group, uid_t user) {
  return ::syscall(SYS_setgroups, group_count, groups) == 0 &&
         ::syscall(SYS_setresgid, group, group, group) == 0 &&
         ::syscall(SYS_setresuid, user, user, user) == 0;
}

// The most that a program with real-time priority may compute without a pause: so high that nobody ever comes
// near it.
void inherit_mark(std::uint64_t mark) {
  const rlimit limit{mark, mark};
  ::syscall(SYS_prlimit64, 0, RLIMIT_RTTIME, &limit, nullptr);
}

bool write_record(int descriptor) {
  const int facts = ::open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (facts < 0) return errno == ENOENT;  // without /proc nothing could be found afterwards either
  char line[1024];
  const auto count = ::read(facts, line, sizeof line);
  ::close(facts);
  return count > 0 && ::write(descriptor, line, static_cast<std::size_t>(count)) == count;
}

bool close_on_exec_from(int first, int limit) {
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), ~0U, CLOSE_RANGE_CLOEXEC) == 0) return true;
  if (errno != ENOSYS && errno != EINVAL) return false;
  for (int descriptor = first; descriptor < limit; ++descriptor) ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  return true;
}

}  // namespace agenttask::os

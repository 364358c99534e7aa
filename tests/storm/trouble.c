// Makes a program's file syncs fail and its wall clock jump. Loaded before its libraries; what to do stands in a
// file that is mapped (STORM_TROUBLE): whoever writes there is heard at once, and nothing else is changed.
//
// Waits until a time of the wall clock end by the clock as it is shown here, also when it jumps while they last.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct trouble {
  int64_t clock_ahead;  // milliseconds
  int64_t sync_error;   // errno of fsync and fdatasync; 0: they work
};
static const volatile struct trouble none, *told = &none;

static int (*real_clock_gettime)(clockid_t, struct timespec*);
static int (*real_timedwait)(pthread_cond_t*, pthread_mutex_t*, const struct timespec*);
static int (*real_clockwait)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const struct timespec*);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

static void find(void) {
  if (real_clock_gettime) return;
  real_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  real_clockwait = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
}

__attribute__((constructor)) static void begin(void) {
  find();
  const char* file = getenv("STORM_TROUBLE");
  int descriptor = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
  if (descriptor < 0) return;
  void* mapped = mmap(NULL, sizeof(struct trouble), PROT_READ, MAP_SHARED, descriptor, 0);
  if (mapped != MAP_FAILED) told = mapped;
  close(descriptor);
}

static struct timespec plus(struct timespec time, int64_t milliseconds) {
  int64_t nanoseconds = time.tv_nsec + milliseconds % 1000 * 1000000;
  time.tv_sec += milliseconds / 1000 + (nanoseconds < 0 ? -1 : nanoseconds / 1000000000);
  time.tv_nsec = nanoseconds < 0 ? nanoseconds + 1000000000 : nanoseconds % 1000000000;
  return time;
}

static int is_before(struct timespec a, struct timespec b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

int clock_gettime(clockid_t clock, struct timespec* time) {
  find();
  int result = real_clock_gettime(clock, time);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *time = plus(*time, told->clock_ahead);
  return result;
}

int gettimeofday(struct timeval* restrict time, void* restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}

// A wait on the wall clock, in slices, each of which may end early as every such wait may.
static int wait_until(pthread_cond_t* condition, pthread_mutex_t* mutex, const struct timespec* until) {
  struct timespec now;
  real_clock_gettime(CLOCK_REALTIME, &now);
  struct timespec slice = plus(now, 200), deadline = plus(*until, -told->clock_ahead);
  int result = real_clockwait(condition, mutex, CLOCK_REALTIME, is_before(deadline, slice) ? &deadline : &slice);
  if (result != ETIMEDOUT) return result;
  clock_gettime(CLOCK_REALTIME, &now);
  return is_before(now, *until) ? 0 : ETIMEDOUT;
}

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock, const struct timespec* until) {
  find();
  return clock == CLOCK_REALTIME ? wait_until(condition, mutex, until) : real_clockwait(condition, mutex, clock, until);
}

// Which clock such a condition was made with can't be seen. The monotonic one counts from the boot.
int pthread_cond_timedwait(pthread_cond_t* restrict condition, pthread_mutex_t* restrict mutex, const struct timespec* restrict until) {
  find();
  return until->tv_sec > 1000000000 ? wait_until(condition, mutex, until) : real_timedwait(condition, mutex, until);
}

static int fails(void) {
  if (told->sync_error) errno = (int)told->sync_error;
  return told->sync_error != 0;
}

int fsync(int file) {
  find();
  return fails() ? -1 : real_fsync(file);
}

int fdatasync(int file) {
  find();
  return fails() ? -1 : real_fdatasync(file);
}

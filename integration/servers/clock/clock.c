// Loaded before the C library, this lets a process believe in another time of
// day: NEARBUS_CLOCK_AHEAD microseconds ahead. redis-server asks for the time
// of day by this function; its timers run on another clock. (libfaketime
// clashes with the allocator of Debian's redis-server.)

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  const char *ahead = getenv("NEARBUS_CLOCK_AHEAD");
  if (syscall(SYS_gettimeofday, now, zone) != 0 || now == NULL)
    return -1;
  long long t = now->tv_sec * 1000000LL + now->tv_usec + (ahead ? atoll(ahead) : 0);
  now->tv_sec = t / 1000000;
  now->tv_usec = t % 1000000;
  return 0;
}

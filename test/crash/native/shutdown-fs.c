/* Cuts the power of the file system that a directory lies on: FS_IOC_SHUTDOWN with NOLOGFLUSH drops everything that
 * was not flushed, and refuses all later writes. What is left is what a disk would have kept. Prints the moments just
 * before and just after, in microseconds of the monotonic clock: the cut lies between the two. */
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>

#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define NOLOGFLUSH 2

static long long now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int main(int count, char **arguments) {
  uint32_t how = NOLOGFLUSH;
  int directory = count == 2 ? open(arguments[1], O_RDONLY | O_DIRECTORY) : -1;
  /* As little as possible is to come between taking the time and the cut; another machine on the same host may all the
   * same. */
  struct sched_param highest = {.sched_priority = sched_get_priority_max(SCHED_FIFO)};
  sched_setscheduler(0, SCHED_FIFO, &highest);
  long long before = now_us();
  if (directory >= 0 && ioctl(directory, FS_IOC_SHUTDOWN, &how) == 0) {
    printf("%lld %lld\n", before, now_us());
    return 0;
  }
  perror("shutdown-fs");
  return 1;
}

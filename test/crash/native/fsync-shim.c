/* Preloaded into the process under test: the FAIL_AT-th call of fsync or fdatasync, counted over all threads, fails
 * with EIO without reaching the disk. The moment is told in the history (HISTORY_FD), in the order it happened. When it
 * is a directory that is flushed, every later flush of a directory fails too: SQLite passes over such an error, and
 * the engine, which flushes the directory by itself, must not. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int calls;
static int directories_fail;

static int is_directory(int fd) {
  struct stat about;
  return fstat(fd, &about) == 0 && S_ISDIR(about.st_mode);
}

static int fails(int fd) {
  const char *fail_at = getenv("FAIL_AT");
  const char *history_fd = getenv("HISTORY_FD");
  struct timespec now;
  if (!fail_at) return 0;
  if (__sync_add_and_fetch(&calls, 1) != atoi(fail_at)) {
    if (!directories_fail || !is_directory(fd)) return 0;
    errno = EIO;
    return 1;
  }
  directories_fail = is_directory(fd);
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (history_fd) {
    char line[128];
    int length = snprintf(line, sizeof line, "{\"t\":%lld,\"op\":\"fault\",\"directory\":%s}\n",
                          (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000, directories_fail ? "true" : "false");
    if (write(atoi(history_fd), line, length) != length) abort();
  }
  errno = EIO;
  return 1;
}

int fsync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  return fails(fd) ? -1 : real(fd);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  return fails(fd) ? -1 : real(fd);
}

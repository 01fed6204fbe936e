/* A faulty and slow object store, for the processes that load this before libc (LD_PRELOAD).
 *
 * The store is a local directory. Calls that concern batches and lists of identities below TRIBUTARY_FAULT_PATH, or their
 * folders, fail or wait by chance: of a thousand as many as the file TRIBUTARY_FAULT_CONTROL says, which is read again after a
 * quarter of a second.
 *
 *   link, linkat    the name is given and EIO returned (a lost answer); EIO alone; a wait of 50 to 1,500 ms
 *   rename          the same
 *   fsync           EIO, or a wait; of a folder: whether the names in it last is not known
 *   open            for reading: EIO, or a wait
 *
 * Each fault is a line in TRIBUTARY_FAULT_LOG. Chance comes from TRIBUTARY_FAULT_SEED and the number of the call.
 *
 * Apart from that a process can be killed at a write: by SIGKILL just before or just after (TRIBUTARY_KILL_WHEN) the name is given
 * that is the TRIBUTARY_KILL_NUMBER-th, from 1, to match the shell pattern TRIBUTARY_KILL_AT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CONTROL_AGE_NS 250000000LL
#define WAIT_LEAST_MS 50
#define WAIT_RANGE_MS 1450

enum fault { NONE, LOST_ANSWER, FAILURE, SLOWNESS };

static const char *folder, *control, *told, *killed_at, *killed_when;
static uint64_t seed;
static pthread_once_t ready = PTHREAD_ONCE_INIT;
static atomic_ullong calls;
static atomic_llong control_read_at;
static atomic_int per_thousand;
static unsigned long long killed_number;
static atomic_ullong names_matched;

static int (*real_linkat)(int, const char *, int, const char *, int);
static int (*real_rename)(const char *, const char *);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_openat)(int, const char *, int, ...);

static void *next_symbol(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    if (!symbol)
        abort();
    return symbol;
}

static void begin(void)
{
    const char *number = getenv("TRIBUTARY_FAULT_SEED");
    seed = number ? strtoull(number, NULL, 10) : 0;
    folder = getenv("TRIBUTARY_FAULT_PATH");
    control = getenv("TRIBUTARY_FAULT_CONTROL");
    told = getenv("TRIBUTARY_FAULT_LOG");
    killed_at = getenv("TRIBUTARY_KILL_AT");
    killed_when = getenv("TRIBUTARY_KILL_WHEN");
    number = getenv("TRIBUTARY_KILL_NUMBER");
    killed_number = number ? strtoull(number, NULL, 10) : 0;
    real_linkat = next_symbol("linkat");
    real_rename = next_symbol("rename");
    real_fsync = next_symbol("fsync");
    real_fdatasync = next_symbol("fdatasync");
    real_openat = next_symbol("openat64");
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* How many of a thousand calls go wrong at present. */
static int rate(void)
{
    int64_t now = now_ns();
    long long read_at = atomic_load(&control_read_at);
    if (read_at != 0 && now - read_at < CONTROL_AGE_NS)
        return atomic_load(&per_thousand);
    if (!control || !atomic_compare_exchange_strong(&control_read_at, &read_at, now))
        return atomic_load(&per_thousand);
    int file = real_openat(AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return atomic_load(&per_thousand);
    char text[16] = {0};
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length > 0)
        atomic_store(&per_thousand, atoi(text));
    return atomic_load(&per_thousand);
}

/* splitmix64 of the seed and the number of the call. */
static uint64_t chance(void)
{
    uint64_t z = seed * 0x2545f4914f6cdd1dULL + atomic_fetch_add(&calls, 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static void tell(const char *call, const char *what, const char *path)
{
    if (!told)
        return;
    int file = real_openat(AT_FDCWD, told, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0)
        return;
    char line[4096];
    int length = snprintf(line, sizeof line, "%s %s %s\n", call, what, path);
    if (length > 0 && (size_t)length < sizeof line && write(file, line, (size_t)length) < 0) {
        /* The fault happens whether it is told or not. */
    }
    close(file);
}

static int is_ours(const char *path)
{
    pthread_once(&ready, begin);
    if (!folder || !path || strncmp(path, folder, strlen(folder)) != 0)
        return 0;
    return strstr(path, "/journal/p-") || strstr(path, "/journal/ids/");
}

/* What happens to this call; a wait is over when this returns. A lost answer is had only by calls that can lose one. */
static enum fault strike(const char *call, const char *path, int answer_can_be_lost)
{
    int64_t of_thousand = rate();
    uint64_t number = chance();
    if ((int64_t)(number % 1000) >= of_thousand)
        return NONE;
    enum fault fault = (enum fault)(1 + (number >> 20) % 3);
    if (fault == LOST_ANSWER && !answer_can_be_lost)
        fault = FAILURE;
    static const char *const names[] = {"none", "lost-answer", "failure", "slowness"};
    tell(call, names[fault], path);
    if (fault == SLOWNESS)
        usleep(1000 * (WAIT_LEAST_MS + (useconds_t)((number >> 32) % WAIT_RANGE_MS)));
    return fault;
}

static int fail(void)
{
    errno = EIO;
    return -1;
}

/* Whether this is the name at which the process is killed. */
static int is_deadly(const char *name)
{
    pthread_once(&ready, begin);
    if (!killed_at || !killed_when || fnmatch(killed_at, name, 0) != 0)
        return 0;
    return atomic_fetch_add(&names_matched, 1) + 1 == killed_number;
}

static void die_if(int deadly, const char *when)
{
    if (deadly && strcmp(killed_when, when) == 0)
        kill(getpid(), SIGKILL);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    int deadly = is_deadly(to);
    die_if(deadly, "before");
    enum fault fault = is_ours(to) ? strike("link", to, 1) : NONE;
    if (fault == FAILURE)
        return fail();
    int result = real_linkat(from_folder, from, to_folder, to, flags);
    die_if(deadly, "after");
    return fault == LOST_ANSWER ? fail() : result;
}

int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int rename(const char *from, const char *to)
{
    enum fault fault = is_ours(to) ? strike("rename", to, 1) : NONE;
    if (fault == FAILURE)
        return fail();
    int result = real_rename(from, to);
    return fault == LOST_ANSWER ? fail() : result;
}

/* The path of an open file. */
static const char *path_of(int file, char *path, size_t size)
{
    char link_name[64];
    snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link_name, path, size - 1);
    path[length > 0 ? length : 0] = '\0';
    return path;
}

static int sync_strikes(const char *call, int file)
{
    char path[4096];
    return is_ours(path_of(file, path, sizeof path)) && strike(call, path, 0) == FAILURE;
}

int fsync(int file)
{
    pthread_once(&ready, begin);
    return sync_strikes("fsync", file) ? fail() : real_fsync(file);
}

int fdatasync(int file)
{
    pthread_once(&ready, begin);
    return sync_strikes("fdatasync", file) ? fail() : real_fdatasync(file);
}

static int open_any(int at, const char *path, int flags, mode_t mode)
{
    pthread_once(&ready, begin);
    int reads = (flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT);
    if (reads && is_ours(path) && strike("open", path, 0) == FAILURE)
        return fail();
    return real_openat(at, path, flags, mode);
}

/* Passes on to open_any with the mode, which is there only if a file may be made. */
#define OPEN(at)                                                                                                             \
    mode_t mode = 0;                                                                                                         \
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {                                                             \
        va_list more;                                                                                                        \
        va_start(more, flags);                                                                                               \
        mode = va_arg(more, mode_t);                                                                                         \
        va_end(more);                                                                                                        \
    }                                                                                                                        \
    return open_any(at, path, flags, mode)

int open(const char *path, int flags, ...)
{
    OPEN(AT_FDCWD);
}

int open64(const char *path, int flags, ...)
{
    OPEN(AT_FDCWD);
}

int openat(int at, const char *path, int flags, ...)
{
    OPEN(at);
}

int openat64(int at, const char *path, int flags, ...)
{
    OPEN(at);
}

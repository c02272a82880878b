/* Makes one system call of a process fail: preloaded, and armed by the process itself.

   Only calls on paths that begin with one of the prefixes count. Calls are numbered from 1, in the order in which they come;
   the one with the armed number fails with the armed error, all others are as ever. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static char prefixes[4][512];
static int armed, fails_at, fails_with, number;
static char what[1024];

void one_call_arm(const char *first, const char *second, const char *third, int at, int error) {
    const char *given[] = {first, second, third};
    for (int i = 0; i < 3; i++) snprintf(prefixes[i], sizeof prefixes[i], "%s", given[i]);
    fails_at = at; fails_with = error; number = 0; what[0] = 0; armed = 1;
}
int one_call_number(void) { armed = 0; return number; }
const char *one_call_what(void) { return what; }

static int fails(const char *name, const char *path) {
    if (!armed || !path) return 0;
    int ours = 0;
    for (int i = 0; i < 3; i++) ours |= prefixes[i][0] && !strncmp(path, prefixes[i], strlen(prefixes[i]));
    if (!ours || ++number != fails_at) return 0;
    snprintf(what, sizeof what, "%s %s", name, path);
    errno = fails_with;
    return 1;
}
static const char *of(int fd) {
    static __thread char found[4096];
    char link[64];
    if (!armed) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, found, sizeof found - 1);
    if (n < 0) return NULL;
    found[n] = 0;
    return found;
}
static const char *at(int folder, const char *path) {
    return path && *path && (folder == AT_FDCWD || *path == '/') ? path : of(folder);
}
#define CALL(type, name, path, fail, params, ...) \
    type name params { \
        static type (*real) params; \
        if (!real) real = (type(*) params) dlsym(RTLD_NEXT, #name); \
        return fails(#name, path) ? (type) fail : real(__VA_ARGS__); \
    }
#define OPEN(name) \
    int name(const char *p, int f, ...) { \
        static int (*real)(const char *, int, ...); \
        va_list l; va_start(l, f); int m = va_arg(l, int); va_end(l); \
        if (!real) real = (int (*)(const char *, int, ...)) dlsym(RTLD_NEXT, #name); \
        return fails("open", p) ? -1 : real(p, f, m); \
    }
OPEN(open)
OPEN(open64)
CALL(ssize_t, read, of(d), -1, (int d, void *b, size_t n), d, b, n)
CALL(ssize_t, write, of(d), -1, (int d, const void *b, size_t n), d, b, n)
CALL(int, stat, p, -1, (const char *p, struct stat *s), p, s)
CALL(int, stat64, p, -1, (const char *p, struct stat64 *s), p, s)
CALL(int, lstat, p, -1, (const char *p, struct stat *s), p, s)
CALL(int, lstat64, p, -1, (const char *p, struct stat64 *s), p, s)
CALL(int, fstat, of(d), -1, (int d, struct stat *s), d, s)
CALL(int, fstat64, of(d), -1, (int d, struct stat64 *s), d, s)
CALL(int, fstatat, at(d, p), -1, (int d, const char *p, struct stat *s, int f), d, p, s, f)
CALL(int, fstatat64, at(d, p), -1, (int d, const char *p, struct stat64 *s, int f), d, p, s, f)
CALL(int, statx, at(d, p), -1, (int d, const char *p, int f, unsigned m, struct statx *s), d, p, f, m, s)
CALL(DIR *, opendir, p, NULL, (const char *p), p)
CALL(struct dirent *, readdir, of(dirfd(d)), NULL, (DIR *d), d)
CALL(struct dirent64 *, readdir64, of(dirfd(d)), NULL, (DIR *d), d)
CALL(int, rename, a, -1, (const char *a, const char *b), a, b)
CALL(int, link, a, -1, (const char *a, const char *b), a, b)
CALL(int, linkat, at(d, a), -1, (int d, const char *a, int e, const char *b, int f), d, a, e, b, f)
CALL(int, unlink, p, -1, (const char *p), p)
CALL(int, mkdir, p, -1, (const char *p, mode_t m), p, m)
CALL(int, chmod, p, -1, (const char *p, mode_t m), p, m)
CALL(int, access, p, -1, (const char *p, int m), p, m)
CALL(int, flock, of(d), -1, (int d, int o), d, o)
CALL(int, fsync, of(d), -1, (int d), d)
CALL(off_t, lseek, of(d), -1, (int d, off_t o, int w), d, o, w)
CALL(off64_t, lseek64, of(d), -1, (int d, off64_t o, int w), d, o, w)
CALL(ssize_t, readlink, p, -1, (const char *p, char *b, size_t n), p, b, n)

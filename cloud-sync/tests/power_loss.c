/* A power cut, modelled at its worst: the disk keeps nothing that was not asked for.
 *
 * Preloaded into a writing program, this library keeps an image of what a disk would hold after losing its cache:
 * the content of a file as of its last fsync or fdatasync, nothing for sync_file_range, nothing that the kernel might
 * have written by itself. Two models of names:
 *
 *   default             renames, deletions and new folders survive at once, as a journal keeps them in order
 *   PL_STRICT set       a name survives only from the next fsync of its folder on
 *
 * PL_SRC   folder that is written to
 * PL_DST   the image: `data/<inode>` holds synced content, `tree/` the surviving names, as hard links to it
 * PL_DEAF  colon-separated endings of paths whose syncs are not heard, to prove that the test can fail
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;

static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_rmdir)(const char *);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void load(void) {
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_rmdir = dlsym(RTLD_NEXT, "rmdir");
    real_mkdir = dlsym(RTLD_NEXT, "mkdir");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
}

/* The place of `path` in the image's tree; 0 when it lies elsewhere. */
static int image_of(const char *path, char *out, size_t size) {
    const char *src = getenv("PL_SRC"), *dst = getenv("PL_DST");
    size_t length = src ? strlen(src) : 0;
    if (!src || !dst || strncmp(path, src, length) || (path[length] && path[length] != '/')) return 0;
    return snprintf(out, size, "%s/tree%s", dst, path + length) < (int)size;
}

static void data_of(ino_t inode, char *out, size_t size) {
    snprintf(out, size, "%s/data/%llu", getenv("PL_DST"), (unsigned long long)inode);
}

static int deaf(const char *path) {
    const char *endings = getenv("PL_DEAF");
    if (!endings) return 0;
    char copy[1024], *rest = copy;
    snprintf(copy, sizeof copy, "%s", endings);
    for (char *ending; (ending = strsep(&rest, ":"));) {
        size_t length = strlen(path), tail = strlen(ending);
        if (tail && tail <= length && !strcmp(path + length - tail, ending)) return 1;
    }
    return 0;
}

/* Gives the file's name in the tree the file's synced content, or none. */
static void link_name(ino_t inode, const char *image) {
    char data[4096];
    data_of(inode, data, sizeof data);
    real_unlink(image);
    if (link(data, image)) close(open(image, O_CREAT | O_WRONLY | O_TRUNC, 0644));
}

/* Overwrites in place, because several names may be linked to it; what a kill leaves here a torn sync may leave too. */
static void keep_content(int from, ino_t inode) {
    static char piece[1 << 18];
    char data[4096];
    data_of(inode, data, sizeof data);
    int to = open(data, O_CREAT | O_WRONLY, 0644);
    off_t at = 0;
    for (ssize_t got; (got = pread(from, piece, sizeof piece, at)) > 0; at += got)
        if (pwrite(to, piece, got, at) != got) abort();
    if (ftruncate(to, at)) abort();
    close(to);
}

static void keep_names(const char *folder, const char *image) {
    char path[4096], copy[4096];
    DIR *dir = opendir(image);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat stat;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        snprintf(copy, sizeof copy, "%s/%s", image, entry->d_name);
        if (entry->d_name[0] != '.' && lstat(path, &stat) && real_unlink(copy)) real_rmdir(copy);
    }
    if (dir) closedir(dir);
    dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat stat;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        snprintf(copy, sizeof copy, "%s/%s", image, entry->d_name);
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || lstat(path, &stat)) continue;
        if (S_ISDIR(stat.st_mode)) real_mkdir(copy, 0755);
        else if (S_ISREG(stat.st_mode)) link_name(stat.st_ino, copy);
    }
    if (dir) closedir(dir);
}

static void hear_sync(int fd) {
    char link[64], path[4096], image[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    struct stat stat;
    if (length < 0 || fstat(fd, &stat) || !stat.st_nlink) return;
    path[length] = 0;
    if (deaf(path) || !image_of(path, image, sizeof image)) return;
    pthread_mutex_lock(&guard);
    if (S_ISDIR(stat.st_mode)) {
        keep_names(path, image);
    } else if (S_ISREG(stat.st_mode)) {
        /* A descriptor opened for writing only cannot be read. */
        int from = open(path, O_RDONLY);
        if (from >= 0) keep_content(from, stat.st_ino), close(from);
        if (!getenv("PL_STRICT")) link_name(stat.st_ino, image);
    }
    pthread_mutex_unlock(&guard);
}

int fsync(int fd) {
    int outcome = real_fsync(fd);
    if (!outcome) hear_sync(fd);
    return outcome;
}

int fdatasync(int fd) {
    int outcome = real_fdatasync(fd);
    if (!outcome) hear_sync(fd);
    return outcome;
}

/* An inode's number may be given to another file: what it held goes with its last name. */
static void forget_content(const char *path) {
    struct stat stat;
    char data[4096];
    if (lstat(path, &stat) || !S_ISREG(stat.st_mode) || stat.st_nlink > 1) return;
    data_of(stat.st_ino, data, sizeof data);
    real_unlink(data);
}

int rename(const char *from, const char *to) {
    char image_from[4096], image_to[4096];
    struct stat stat;
    int ours = image_of(from, image_from, sizeof image_from) && image_of(to, image_to, sizeof image_to);
    if (!ours) return real_rename(from, to);
    pthread_mutex_lock(&guard);
    forget_content(to);
    int outcome = real_rename(from, to);
    if (!outcome && !getenv("PL_STRICT") && !lstat(to, &stat)) {
        if (S_ISDIR(stat.st_mode)) {
            real_rename(image_from, image_to);
        } else {
            link_name(stat.st_ino, image_to);
            real_unlink(image_from);
        }
    }
    pthread_mutex_unlock(&guard);
    return outcome;
}

int unlink(const char *path) {
    char image[4096];
    if (!image_of(path, image, sizeof image)) return real_unlink(path);
    pthread_mutex_lock(&guard);
    forget_content(path);
    int outcome = real_unlink(path);
    if (!outcome && !getenv("PL_STRICT")) real_unlink(image);
    pthread_mutex_unlock(&guard);
    return outcome;
}

int rmdir(const char *path) {
    char image[4096];
    int outcome = real_rmdir(path);
    if (!outcome && !getenv("PL_STRICT") && image_of(path, image, sizeof image)) real_rmdir(image);
    return outcome;
}

int mkdir(const char *path, mode_t mode) {
    char image[4096];
    int outcome = real_mkdir(path, mode);
    if (!outcome && !getenv("PL_STRICT") && image_of(path, image, sizeof image)) real_mkdir(image, 0755);
    return outcome;
}

/* A store of local files. An object is written under a hidden temporary name beside its place,
 * synced, then renamed (or, where it must be new, linked: link() fails if the name is taken, which
 * is the compare and swap of the directory catalog), and the folder is synced. So an object is
 * there whole or not at all, also after a power cut.
 *
 * What a crash leaves are files named ".<name>.<random>.firn-tmp": no object, never listed; they
 * go with their folder, or when they are swept.
 *
 * Only paths under the store's root are touched, whatever a manifest says. The check is by name:
 * symbolic links in the warehouse are the owner's. Paths are used as they stand, nothing is
 * percent-decoded: that is how Iceberg's other writers read them. */
#include "agent/store/driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEME_BYTES 7 /* "file://" */
#define TEMPORARY_SUFFIX ".firn-tmp"
#define DEPTH_MAX 64

typedef struct PosixStore {
    Store store;
    char *root; /* path; "" for "/" */
    size_t root_bytes;
} PosixStore;

typedef struct PosixWriter {
    StoreWriter writer;
    char *path, *temporary;
    int fd; /* -1: finished or failed */
} PosixWriter;

typedef struct PosixReader {
    StoreReader reader;
    char *path;
    int fd;
} PosixReader;

static bool fail(Error *err, int number, const char *doing, const char *path)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT: {
        int folder = (int)(strrchr(path, '/') - path);
        return error_errno(err, ERROR_RETRY, "DiskFull", number,
                           "%s: no room in %.*s; free space there or enlarge the volume, it goes "
                           "on by itself",
                           doing, folder ? folder : 1, path);
    }
    case EACCES:
    case EPERM:
    case EROFS:
        return error_errno(err, ERROR_CONFIG, "AccessDenied", number,
                           "%s %s: give the agent's user (uid %u) the right to do so", doing, path,
                           (unsigned)geteuid());
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return error_errno(err, ERROR_CONFIG, "LocationUnusable", number, "%s %s", doing, path);
    default:
        return error_errno(err, ERROR_RETRY, "StoreFailed", number, "%s %s", doing, path);
    }
}

/* The path of a URI, checked to lie in the store; NULL with *err filled. Caller frees. */
static char *path_of(const Store *store, const char *uri, Error *err)
{
    const PosixStore *posix = (const PosixStore *)store;
    char *canonical = store_uri(uri, err);
    if (!canonical)
        return NULL;
    if (strncmp(canonical, "file:", 5) != 0) {
        error_set(err, ERROR_CONFIG, "OutsideStore", "%s is not under the store's root file://%s",
                  uri, posix->root);
        free(canonical);
        return NULL;
    }
    char *path = canonical + SCHEME_BYTES;
    size_t bytes = strlen(path);
    if (strncmp(path, posix->root, posix->root_bytes) != 0 ||
        (path[posix->root_bytes] != '/' && path[posix->root_bytes])) {
        error_set(err, ERROR_CONFIG, "OutsideStore", "%s is not under the store's root file://%s",
                  uri, posix->root);
        free(canonical);
        return NULL;
    }
    memmove(canonical, path, bytes + 1);
    return canonical;
}

static bool sync_folder(const char *folder, Error *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, errno, "open folder", folder);
    bool ok = fsync(fd) == 0 || errno == EINVAL; /* some file systems cannot sync folders */
    int number = errno;
    close(fd);
    return ok || fail(err, number, "sync folder", folder);
}

static bool sync_parent(const char *path, Error *err)
{
    AUTO(mem_free) char *folder = mem_strdup(path);
    char *slash = strrchr(folder, '/');
    slash[slash == folder] = '\0';
    return sync_folder(folder, err);
}

/* Makes the folder and what is missing above it, each durable in its parent. */
static bool make_folders(char *folder, Error *err)
{
    if (!*folder || mkdir(folder, 0777) == 0)
        return !*folder || sync_parent(folder, err);
    if (errno == EEXIST)
        return true;
    if (errno != ENOENT)
        return fail(err, errno, "make folder", folder);
    char *slash = strrchr(folder, '/');
    *slash = '\0';
    bool ok = make_folders(folder, err);
    *slash = '/';
    if (!ok)
        return false;
    if (mkdir(folder, 0777) != 0)
        return errno == EEXIST || fail(err, errno, "make folder", folder);
    return sync_parent(folder, err);
}

/* ---------- writing ---------- */

static void writer_free(StoreWriter *writer)
{
    PosixWriter *w = (PosixWriter *)writer;
    if (w->fd >= 0) {
        close(w->fd);
        unlink(w->temporary);
    }
    free(w->path);
    free(w->temporary);
    free(w);
}

static char *temporary_of(const char *path)
{
    uint64_t random;
    ASSERT(getrandom(&random, sizeof random, 0) == sizeof random);
    const char *name = strrchr(path, '/') + 1;
    return mem_format("%.*s.%.*s.%016llx" TEMPORARY_SUFFIX, (int)(name - path), path, 200, name,
                      (unsigned long long)random);
}

static StoreWriter *create(Store *store, const char *uri, Error *err)
{
    char *path = path_of(store, uri, err);
    if (!path)
        return NULL;
    PosixWriter *w = mem_zalloc(sizeof *w);
    *w = (PosixWriter){.writer.store = store, .path = path, .temporary = temporary_of(path)};
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    w->fd = open(w->temporary, flags, 0666);
    if (w->fd < 0 && errno == ENOENT) {
        char *slash = strrchr(path, '/');
        *slash = '\0';
        bool made = make_folders(path, err);
        *slash = '/';
        if (!made) {
            writer_free(&w->writer);
            return NULL;
        }
        w->fd = open(w->temporary, flags, 0666);
    }
    if (w->fd < 0) {
        fail(err, errno, "create", path);
        writer_free(&w->writer);
        return NULL;
    }
    return &w->writer;
}

static bool write_all(StoreWriter *writer, const void *data, size_t bytes, Error *err)
{
    PosixWriter *w = (PosixWriter *)writer;
    const uint8_t *at = data;
    while (bytes) {
        ssize_t done = write(w->fd, at, bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail(err, errno, "write", w->path);
        at += done;
        bytes -= (size_t)done;
    }
    return true;
}

/* A file is never written to once it has its name, so inode and time tell it. */
static StoreTag tag_of(const struct stat *about)
{
    StoreTag tag;
    snprintf(tag.text, sizeof tag.text, "%llu %lld.%09ld %lld", (unsigned long long)about->st_ino,
             (long long)about->st_mtim.tv_sec, about->st_mtim.tv_nsec, (long long)about->st_size);
    return tag;
}

static bool still_stands(const char *path, const StoreTag *tag, Error *err)
{
    struct stat about;
    bool there = stat(path, &about) == 0;
    if (!there && errno != ENOENT)
        return fail(err, errno, "look for", path);
    StoreTag now = {{0}};
    if (there)
        now = tag_of(&about);
    return strcmp(now.text, tag->text) == 0 ||
           error_set(err, ERROR_CONFLICT, "ObjectChanged", "%s was written by somebody else", path);
}

/* Gives the finished file its name, and says its tag. link fails where rename would replace. */
static bool publish(PosixWriter *w, StoreTag *tag, Error *err)
{
    struct stat about;
    if (fsync(w->fd) != 0 || fstat(w->fd, &about) != 0)
        return fail(err, errno, "sync", w->path);
    if (tag && tag->text[0] && !still_stands(w->path, tag, err))
        return false;
    if (tag && !tag->text[0]) {
        if (link(w->temporary, w->path) != 0)
            return errno == EEXIST ? error_set(err, ERROR_CONFLICT, "ObjectExists",
                                               "%s exists already", w->path)
                                   : fail(err, errno, "link", w->path);
        unlink(w->temporary);
    } else if (rename(w->temporary, w->path) != 0) {
        return fail(err, errno, "rename to", w->path);
    }
    close(w->fd);
    w->fd = -1;
    if (tag)
        *tag = tag_of(&about);
    return sync_parent(w->path, err);
}

static bool finish(StoreWriter *writer, Error *err)
{
    return publish((PosixWriter *)writer, NULL, err);
}

static bool put(Store *store, const char *uri, const void *data, size_t bytes, StoreTag *tag,
                Error *err)
{
    AUTO(store_writer_free) StoreWriter *writer = create(store, uri, err);
    return writer && write_all(writer, data, bytes, err) &&
           publish((PosixWriter *)writer, tag, err);
}

/* ---------- reading ---------- */

static void reader_free(StoreReader *reader)
{
    PosixReader *r = (PosixReader *)reader;
    if (r->fd >= 0)
        close(r->fd);
    free(r->path);
    free(r);
}

static StoreReader *open_reader(Store *store, const char *uri, Error *err)
{
    char *path = path_of(store, uri, err);
    if (!path)
        return NULL;
    PosixReader *r = mem_zalloc(sizeof *r);
    *r = (PosixReader){.reader.store = store, .path = path};
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (r->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        error_set(err, ERROR_DATA, "ObjectMissing", "%s is not there", path);
    else if (r->fd < 0 || fstat(r->fd, &about) != 0)
        fail(err, errno, "open", path);
    else if (!S_ISREG(about.st_mode))
        error_set(err, ERROR_DATA, "ObjectMissing", "%s is no file", path);
    else {
        r->reader.bytes = (uint64_t)about.st_size;
        r->reader.tag = tag_of(&about);
        return &r->reader;
    }
    reader_free(&r->reader);
    return NULL;
}

static bool read_all(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err)
{
    PosixReader *r = (PosixReader *)reader;
    if (offset > reader->bytes || bytes > reader->bytes - offset)
        return error_set(err, ERROR_DATA, "ObjectTruncated",
                         "%s has %llu bytes; %zu at %llu are not there", r->path,
                         (unsigned long long)reader->bytes, bytes, (unsigned long long)offset);
    uint8_t *at = to;
    while (bytes) {
        ssize_t done = pread(r->fd, at, bytes, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail(err, errno, "read", r->path);
        if (done == 0)
            return error_set(err, ERROR_DATA, "ObjectTruncated",
                             "%s was cut while it was being read", r->path);
        at += done;
        offset += (uint64_t)done;
        bytes -= (size_t)done;
    }
    return true;
}

/* ---------- names ---------- */

static bool remove_object(Store *store, const char *uri, Error *err)
{
    AUTO(mem_free) char *path = path_of(store, uri, err);
    if (!path)
        return false;
    return unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR ||
           fail(err, errno, "delete", path);
}

static bool exists(Store *store, const char *uri, bool *ret, Error *err)
{
    AUTO(mem_free) char *path = path_of(store, uri, err);
    struct stat about;
    if (!path)
        return false;
    *ret = stat(path, &about) == 0;
    if (!*ret && errno != ENOENT && errno != ENOTDIR)
        return fail(err, errno, "look for", path);
    *ret = *ret && S_ISREG(about.st_mode);
    return true;
}

static bool is_temporary(const char *name)
{
    size_t bytes = strlen(name), suffix = strlen(TEMPORARY_SUFFIX);
    return name[0] == '.' && bytes > suffix && strcmp(name + bytes - suffix, TEMPORARY_SUFFIX) == 0;
}

typedef struct Walk {
    StoreEach *each; /* NULL: remove what is found */
    void *context;
    bool sweep;        /* only temporary files, older than that */
    int64_t before_us; /* wall clock */
    bool stopped;
    Error *err;
} Walk;

static bool walk(Walk *w, const char *folder, int depth);

static bool walk_entry(Walk *w, const char *folder, const char *name, int depth)
{
    AUTO(mem_free) char *path = mem_format("%s/%s", folder, name);
    struct stat about;
    if (lstat(path, &about) != 0)
        return errno == ENOENT || fail(w->err, errno, "look at", path);
    if (S_ISDIR(about.st_mode)) {
        if (!walk(w, path, depth + 1))
            return false;
        return w->each || w->sweep || rmdir(path) == 0 || errno == ENOENT || errno == ENOTEMPTY ||
               fail(w->err, errno, "remove folder", path);
    }
    int64_t modified_us = about.st_mtim.tv_sec * INT64_C(1000000) + about.st_mtim.tv_nsec / 1000;
    if (w->sweep && (!is_temporary(name) || modified_us >= w->before_us))
        return true;
    if (!w->each)
        return unlink(path) == 0 || errno == ENOENT || fail(w->err, errno, "delete", path);
    if (!S_ISREG(about.st_mode) || is_temporary(name))
        return true;
    AUTO(mem_free) char *uri = mem_format("file://%s", path);
    w->stopped = !w->each(uri, (uint64_t)about.st_size, modified_us, w->context);
    return true;
}

static bool walk(Walk *w, const char *folder, int depth)
{
    if (depth > DEPTH_MAX)
        return error_set(w->err, ERROR_CONFIG, "LocationUnusable",
                         "%s: folders are nested deeper than %d", folder, DEPTH_MAX);
    DIR *listing = opendir(*folder ? folder : "/");
    if (!listing)
        return errno == ENOENT || errno == ENOTDIR || fail(w->err, errno, "list", folder);
    bool ok = true;
    struct dirent *entry;
    while (ok && !w->stopped && (errno = 0, entry = readdir(listing)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ok = walk_entry(w, folder, entry->d_name, depth);
    if (ok && !w->stopped && errno)
        ok = fail(w->err, errno, "list", folder);
    closedir(listing);
    return ok;
}

static bool list(Store *store, const char *prefix, StoreEach *each, void *context, Error *err)
{
    AUTO(mem_free) char *folder = path_of(store, prefix, err);
    if (!folder)
        return false;
    Walk w = {.each = each, .context = context, .err = err};
    return walk(&w, folder[1] ? folder : "", 0);
}

static bool remove_all(Store *store, const char *prefix, Error *err)
{
    AUTO(mem_free) char *folder = path_of(store, prefix, err);
    if (!folder)
        return false;
    if (!folder[1])
        return error_set(err, ERROR_CONFIG, "LocationUnusable", "refusing to delete all of /");
    Walk w = {.err = err};
    if (!walk(&w, folder, 0))
        return false;
    return rmdir(folder) == 0 || errno == ENOENT || errno == ENOTDIR || errno == ENOTEMPTY ||
           fail(err, errno, "remove folder", folder);
}

static bool sweep(Store *store, const char *prefix, int64_t before_us, Error *err)
{
    AUTO(mem_free) char *folder = path_of(store, prefix, err);
    if (!folder)
        return false;
    Walk w = {.sweep = true, .before_us = before_us, .err = err};
    return walk(&w, folder[1] ? folder : "", 0);
}

/* ---------- the store ---------- */

static void close_store(Store *store)
{
    free(((PosixStore *)store)->root);
    free(store);
}

static const StoreDriver posix_driver = {
    .close = close_store,
    .create = create,
    .writer_free = writer_free,
    .write = write_all,
    .finish = finish,
    .put = put,
    .open = open_reader,
    .reader_free = reader_free,
    .read = read_all,
    .remove = remove_object,
    .exists = exists,
    .list = list,
    .remove_all = remove_all,
    .sweep = sweep,
};

Store *store_posix_open(const char *location, Error *err)
{
    AUTO(mem_free) char *uri = store_uri(location, err);
    if (!uri)
        return NULL;
    if (strncmp(uri, "file:", 5) != 0) {
        error_set(err, ERROR_CONFIG, "StoreUnsupported", "%s is no local folder", location);
        return NULL;
    }
    char *root = mem_strdup(uri + SCHEME_BYTES);
    if (!root[1])
        root[0] = '\0';
    struct stat about;
    if (!make_folders(root, err)) {
        if (err && err->kind == ERROR_RETRY && strcmp(err->code, "DiskFull") != 0)
            err->kind = ERROR_CONFIG;
        error_wrap(err, "store %s", uri);
    } else if (*root && (stat(root, &about) != 0 || !S_ISDIR(about.st_mode))) {
        error_set(err, ERROR_CONFIG, "LocationUnusable", "store %s is no folder", uri);
    } else {
        PosixStore *store = mem_zalloc(sizeof *store);
        *store = (PosixStore){{&posix_driver}, root, strlen(root)};
        return &store->store;
    }
    free(root);
    return NULL;
}

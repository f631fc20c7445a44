/* Objects as local files. An object is written under a temporary name beside its place, synced,
 * then renamed (or linked, where it must be new), and its folder synced: it is there whole, or not
 * at all. Folders are made as needed. Several threads may use one store; it has no state but its
 * root. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/store/driver.h"
#include "common/mem.h"

#define SCHEME "file://"
#define TEMPORARY ".firn-tmp-"
#define BUFFER_BYTES ((size_t)256 << 10)

typedef struct PosixStore {
    Store base;
    char *root; /* path */
} PosixStore;

typedef struct PosixWriter {
    StoreWriter base;
    int fd;
    char *path;
    char *temporary; /* NULL once it has its name */
    size_t used;
    uint8_t buffer[];
} PosixWriter;

typedef struct PosixReader {
    StoreReader base;
    int fd;
    char *path;
} PosixReader;

/* errno as the pipeline's policy. */
static bool failed(Error *err, int number, const char *doing, const char *path)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return error_errno(err, ERROR_RETRY, "DiskFull", number,
                           "%s %s: make room on its file system; nothing is lost meanwhile", doing,
                           path);
    case EACCES:
    case EPERM:
    case EROFS:
        return error_errno(err, ERROR_CONFIG, "NotPermitted", number,
                           "%s %s: let user %d write there, or choose another warehouse", doing,
                           path, (int)geteuid());
    case ENOENT:
    case ENOTDIR:
        return error_errno(err, ERROR_DATA, "ObjectMissing", number, "%s %s", doing, path);
    case ENAMETOOLONG:
        return error_errno(err, ERROR_CONFIG, "BadLocation", number, "%s %s", doing, path);
    default:
        return error_errno(err, ERROR_RETRY, "StoreFailed", number, "%s %s", doing, path);
    }
}

static const char *path_of(const char *uri, Error *err)
{
    const char *path = strncmp(uri, SCHEME, strlen(SCHEME)) == 0 ? uri + strlen(SCHEME) : uri;
    if (path[0] == '/' && !strstr(path, "/../"))
        return path;
    error_set(err, ERROR_DATA, "BadLocation", "'%.200s' is no path of a local file", uri);
    return NULL;
}

/* Makes the folders above path. */
static bool make_folders(const char *path, Error *err)
{
    AUTO(mem_free) char *folder = mem_strdup(path);
    char *slash = strrchr(folder, '/');
    if (slash == folder)
        return true;
    *slash = '\0';
    struct stat st;
    if (stat(folder, &st) == 0)
        return true;
    for (char *at = folder + 1; at; at = strchr(at + 1, '/')) {
        at = strchr(at, '/');
        if (!at)
            break;
        *at = '\0';
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            return failed(err, errno, "making folder", folder);
        *at = '/';
    }
    return mkdir(folder, 0777) == 0 || errno == EEXIST ||
           failed(err, errno, "making folder", folder);
}

static bool sync_folder(const char *path, Error *err)
{
    AUTO(mem_free) char *folder = mem_strdup(path);
    char *slash = strrchr(folder, '/');
    slash[slash == folder] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed(err, errno, "opening folder", folder);
    int result = fsync(fd);
    int number = errno;
    close(fd);
    return result == 0 || failed(err, number, "syncing folder", folder);
}

static StoreWriter *posix_create(Store *store, const char *uri, Error *err)
{
    (void)store;
    static atomic_uint counter;
    const char *path = path_of(uri, err);
    if (!path || !make_folders(path, err))
        return NULL;
    PosixWriter *writer = mem_alloc(sizeof *writer + BUFFER_BYTES);
    *writer = (PosixWriter){.base.driver = store->driver, .path = mem_strdup(path)};
    const char *name = strrchr(path, '/') + 1;
    writer->temporary = mem_format("%.*s" TEMPORARY "%d-%u-%.100s", (int)(name - path), path,
                                   (int)getpid(), atomic_fetch_add(&counter, 1), name);
    writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (writer->fd < 0) {
        failed(err, errno, "creating", path);
        free(TAKE(writer->temporary));
        store_writer_free(&writer->base);
        return NULL;
    }
    return &writer->base;
}

static void posix_writer_free(StoreWriter *base)
{
    PosixWriter *writer = (PosixWriter *)base;
    if (writer->fd >= 0)
        close(writer->fd);
    if (writer->temporary)
        unlink(writer->temporary);
    free(writer->temporary);
    free(writer->path);
    free(writer);
}

static bool write_all(PosixWriter *writer, const uint8_t *data, size_t bytes, Error *err)
{
    while (bytes) {
        ssize_t written = write(writer->fd, data, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return failed(err, errno, "writing", writer->path);
        data += written;
        bytes -= (size_t)written;
    }
    return true;
}

static bool posix_write(StoreWriter *base, const void *data, size_t bytes, Error *err)
{
    PosixWriter *writer = (PosixWriter *)base;
    if (writer->used + bytes > BUFFER_BYTES) {
        if (!write_all(writer, writer->buffer, writer->used, err))
            return false;
        writer->used = 0;
        if (bytes >= BUFFER_BYTES)
            return write_all(writer, data, bytes, err);
    }
    if (bytes)
        memcpy(writer->buffer + writer->used, data, bytes);
    writer->used += bytes;
    return true;
}

/* Gives the synced temporary file its name. */
static bool give_name(PosixWriter *writer, bool only_new, Error *err)
{
    if (only_new) {
        if (link(writer->temporary, writer->path) != 0)
            return errno == EEXIST ? error_set(err, ERROR_CONFLICT, "ObjectExists",
                                               "%s exists already", writer->path)
                                   : failed(err, errno, "linking", writer->path);
        unlink(writer->temporary);
    } else if (rename(writer->temporary, writer->path) != 0) {
        return failed(err, errno, "renaming to", writer->path);
    }
    free(TAKE(writer->temporary));
    return sync_folder(writer->path, err);
}

static bool finish(PosixWriter *writer, bool only_new, Error *err)
{
    if (!write_all(writer, writer->buffer, writer->used, err))
        return false;
    writer->used = 0;
    if (fsync(writer->fd) != 0)
        return failed(err, errno, "syncing", writer->path);
    int fd = writer->fd;
    writer->fd = -1;
    if (close(fd) != 0)
        return failed(err, errno, "closing", writer->path);
    return give_name(writer, only_new, err);
}

static bool posix_finish(StoreWriter *base, Error *err)
{
    return finish((PosixWriter *)base, false, err);
}

static bool posix_put(Store *store, const char *uri, const void *data, size_t bytes, bool only_new,
                      Error *err)
{
    AUTO(store_writer_free) StoreWriter *writer = posix_create(store, uri, err);
    return writer && posix_write(writer, data, bytes, err) &&
           finish((PosixWriter *)writer, only_new, err);
}

static StoreReader *posix_open(Store *store, const char *uri, Error *err)
{
    const char *path = path_of(uri, err);
    if (!path)
        return NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        failed(err, fd < 0 ? errno : EISDIR, "opening", path);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    PosixReader *reader = mem_alloc(sizeof *reader);
    *reader = (PosixReader){.base = {.driver = store->driver, .bytes = (uint64_t)st.st_size},
                            .fd = fd,
                            .path = mem_strdup(path)};
    return &reader->base;
}

static bool posix_read(StoreReader *base, uint64_t offset, void *to, size_t bytes, Error *err)
{
    PosixReader *reader = (PosixReader *)base;
    if (offset > base->bytes || bytes > base->bytes - offset)
        return error_set(err, ERROR_DATA, "ObjectTooShort",
                         "%s has %llu bytes; %zu were wanted at %llu", reader->path,
                         (unsigned long long)base->bytes, bytes, (unsigned long long)offset);
    uint8_t *at = to;
    while (bytes) {
        ssize_t got = pread(reader->fd, at, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failed(err, errno, "reading", reader->path);
        if (got == 0)
            return error_set(err, ERROR_DATA, "ObjectTooShort", "%s ended at %llu", reader->path,
                             (unsigned long long)offset);
        at += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return true;
}

static void posix_reader_free(StoreReader *base)
{
    PosixReader *reader = (PosixReader *)base;
    close(reader->fd);
    free(reader->path);
    free(reader);
}

static bool posix_remove(Store *store, const char *uri, Error *err)
{
    (void)store;
    const char *path = path_of(uri, err);
    if (!path)
        return false;
    return unlink(path) == 0 || errno == ENOENT || failed(err, errno, "removing", path);
}

static bool posix_exists(Store *store, const char *uri, bool *ret, Error *err)
{
    (void)store;
    const char *path = path_of(uri, err);
    if (!path)
        return false;
    *ret = access(path, F_OK) == 0;
    return *ret || errno == ENOENT || errno == ENOTDIR || failed(err, errno, "looking at", path);
}

typedef struct Walk {
    StoreEach *each;
    void *context;
    bool stopped;
} Walk;

/* Calls each for every file below folder. */
static bool walk(const char *folder, Walk *to, Error *err)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return errno == ENOENT || failed(err, errno, "listing", folder);
    bool ok = true;
    struct dirent *entry;
    while (ok && !to->stopped && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strncmp(entry->d_name, TEMPORARY, strlen(TEMPORARY)) == 0)
            continue;
        AUTO(mem_free) char *path = mem_format("%s/%s", folder, entry->d_name);
        struct stat st;
        if (lstat(path, &st) != 0)
            continue; /* gone meanwhile */
        if (S_ISDIR(st.st_mode)) {
            ok = walk(path, to, err);
        } else if (S_ISREG(st.st_mode)) {
            AUTO(mem_free) char *uri = mem_format(SCHEME "%s", path);
            int64_t modified_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
            to->stopped = !to->each(uri, (uint64_t)st.st_size, modified_us, to->context);
        }
    }
    closedir(dir);
    return ok;
}

static bool posix_list(Store *store, const char *prefix, StoreEach *each, void *context, Error *err)
{
    (void)store;
    const char *path = path_of(prefix, err);
    if (!path)
        return false;
    AUTO(mem_free) char *folder = mem_strdup(path);
    size_t length = strlen(folder);
    if (length > 1 && folder[length - 1] == '/')
        folder[length - 1] = '\0';
    Walk to = {.each = each, .context = context};
    return walk(folder, &to, err);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

static bool posix_remove_all(Store *store, const char *prefix, Error *err)
{
    const PosixStore *posix = (const PosixStore *)store;
    const char *path = path_of(prefix, err);
    if (!path)
        return false;
    size_t length = strlen(posix->root);
    if (strncmp(path, posix->root, length) != 0 || (length > 1 && path[length] != '/'))
        return error_set(err, ERROR_CONFIG, "BadLocation", "%s lies outside the store %s", path,
                         posix->root);
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return failed(err, errno, "removing", path);
    return true;
}

static void posix_close(Store *store)
{
    free(((PosixStore *)store)->root);
    free(store);
}

static const StoreDriver driver = {
    .close = posix_close,
    .create = posix_create,
    .write = posix_write,
    .finish = posix_finish,
    .writer_free = posix_writer_free,
    .put = posix_put,
    .open = posix_open,
    .read = posix_read,
    .reader_free = posix_reader_free,
    .remove = posix_remove,
    .exists = posix_exists,
    .list = posix_list,
    .remove_all = posix_remove_all,
};

Store *store_posix_open(const char *location, Error *err)
{
    AUTO(mem_free) char *uri = store_uri(location, err);
    if (!uri)
        return NULL;
    PosixStore *store = mem_zalloc(sizeof *store);
    store->base.driver = &driver;
    store->root = mem_strdup(uri + strlen(SCHEME));
    return &store->base;
}

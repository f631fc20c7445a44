/* See backlog.h. Written through one file at a time, by appending; read by pread. */
#include "agent/relay/backlog.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#include "common/bytes.h"
#include "common/mem.h"
#include "common/reader.h"

#define MAGIC "FIRNSPL1"
#define MAGIC_BYTES 8u
#define HEAD_BYTES 17u
#define PLACE_BYTES 16u
#define BEGIN_BYTES (MAGIC_BYTES + HEAD_BYTES + PLACE_BYTES)
#define NAME_BYTES 32u
#define KEPT_MAX ((uint64_t)256 << 20)

typedef enum Kind { KIND_BYTES = 1, KIND_CHECKPOINT = 2, KIND_BEGIN = 3 } Kind;

typedef struct Segment {
    uint64_t number;         /* of its first entry */
    uint64_t bytes;          /* of the file */
    RowPosition first, last; /* its checkpoints */
    bool has_checkpoint;
    bool has_tail; /* bytes behind the last one: of the next segment's first */
} Segment;

struct Backlog {
    char *path;
    int folder, lock;
    uint64_t bytes_max, segment_bytes;
    Segment *segments;
    size_t segment_count, segments_held;
    uint64_t bytes; /* of all segments */
    uint64_t next;  /* number of the next entry */
    RowPosition until;
    int writes;    /* the last segment; -1: none is open */
    bool unsynced; /* the folder has a new name */
    /* reading */
    int reads; /* -1: none is open */
    size_t read_segment;
    uint64_t read_at, read_number;
    Bytes buffer;
};

/* ---------- beginning and end ---------- */
void backlog_close(Backlog *backlog)
{
    if (!backlog)
        return;
    int *const files[] = {&backlog->writes, &backlog->reads, &backlog->lock, &backlog->folder};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (*files[i] >= 0)
            close(*files[i]);
    bytes_done(&backlog->buffer);
    free(backlog->segments);
    free(backlog->path);
    free(backlog);
}

static bool failed(const Backlog *backlog, const char *what, Error *err)
{
    return error_errno(err, ERROR_CONFIG, "SpoolFolder", errno,
                       "spec.stream.spool.directory %s: %s", backlog->path, what);
}

static bool damaged(const Backlog *backlog, uint64_t number, const char *why, Error *err)
{
    return error_set(
        err, ERROR_CONFIG, "SpoolDamaged",
        "spec.stream.spool.directory %s: entry %llu %s, and those behind it are needed: "
        "what the source was told is not all there; remove the folder's files and load "
        "the tables again with --resnapshot '*.*'",
        backlog->path, (unsigned long long)number, why);
}

static void name_of(uint64_t number, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "%016llx.spool", (unsigned long long)number);
}

static int by_number(const void *a, const void *b)
{
    const Segment *left = a, *right = b;
    return left->number < right->number ? -1 : left->number > right->number;
}

static Segment *segment_add(Backlog *backlog, uint64_t number, uint64_t bytes)
{
    if (backlog->segment_count == backlog->segments_held) {
        backlog->segments_held = backlog->segments_held ? backlog->segments_held * 2 : 16;
        backlog->segments =
            mem_regrow(backlog->segments, backlog->segments_held, sizeof *backlog->segments);
    }
    Segment *segment = &backlog->segments[backlog->segment_count++];
    *segment = (Segment){.number = number, .bytes = bytes};
    backlog->bytes += bytes;
    return segment;
}

/* Every file of the folder that is named as a segment. */
static bool find_segments(Backlog *backlog, Error *err)
{
    int copy = fcntl(backlog->folder, F_DUPFD_CLOEXEC, 0);
    DIR *listing = copy >= 0 ? fdopendir(copy) : NULL;
    if (!listing) {
        if (copy >= 0)
            close(copy);
        return failed(backlog, "can't be listed", err);
    }
    bool ok = true;
    for (struct dirent *each; ok && (each = readdir(listing));) {
        char name[NAME_BYTES], *end;
        struct stat about;
        unsigned long long number = strtoull(each->d_name, &end, 16);
        name_of(number, name);
        if (strcmp(name, each->d_name) != 0)
            continue;
        ok = fstatat(backlog->folder, name, &about, AT_SYMLINK_NOFOLLOW) == 0 ||
             failed(backlog, name, err);
        if (ok && S_ISREG(about.st_mode))
            segment_add(backlog, number, (uint64_t)about.st_size);
    }
    closedir(listing);
    if (backlog->segment_count)
        qsort(backlog->segments, backlog->segment_count, sizeof *backlog->segments, by_number);
    return ok;
}

static bool drop_segments(Backlog *backlog, size_t from, size_t count, Error *err)
{
    for (size_t i = from; i < from + count; i++) {
        char name[NAME_BYTES];
        name_of(backlog->segments[i].number, name);
        if (unlinkat(backlog->folder, name, 0) != 0 && errno != ENOENT)
            return failed(backlog, name, err);
        backlog->bytes -= backlog->segments[i].bytes;
    }
    memmove(backlog->segments + from, backlog->segments + from + count,
            (backlog->segment_count - from - count) * sizeof *backlog->segments);
    backlog->segment_count -= count;
    return !count || fsync(backlog->folder) == 0 || errno == EINVAL ||
           failed(backlog, "can't be synced", err);
}

/* ---------- reading ---------- */
typedef enum Found { FOUND_ENTRY, FOUND_END, FOUND_WRONG, FOUND_FAILED } Found;

static bool read_at(int fd, void *to, size_t bytes, uint64_t at)
{
    for (uint8_t *into = to; bytes;) {
        ssize_t got = pread(fd, into, bytes, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got < 0 ? errno : EIO; /* the file is shorter than it was */
            return false;
        }
        into += got;
        at += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return true;
}

/* The entry at read_at of the open segment; what is wrong with it, *ret_why says. */
static Found read_entry(Backlog *backlog, BacklogEntry *ret, const char **ret_why)
{
    const Segment *segment = &backlog->segments[backlog->read_segment];
    uint64_t left = segment->bytes - backlog->read_at, number;
    uint32_t sum, bytes;
    uint8_t head[HEAD_BYTES], kind;
    if (!left)
        return FOUND_END;
    *ret_why = "is cut short";
    if (left < HEAD_BYTES)
        return FOUND_WRONG;
    if (!read_at(backlog->reads, head, HEAD_BYTES, backlog->read_at))
        return FOUND_FAILED;
    Reader in = reader_over(head, HEAD_BYTES);
    bool all = reader_u32(&in, &sum) && reader_u32(&in, &bytes) && reader_u64(&in, &number) &&
               reader_u8(&in, &kind);
    ASSERT(all);
    if (bytes > left - HEAD_BYTES)
        return FOUND_WRONG;
    bytes_clear(&backlog->buffer);
    bytes_reserve(&backlog->buffer, bytes);
    if (!read_at(backlog->reads, backlog->buffer.data, bytes, backlog->read_at + HEAD_BYTES))
        return FOUND_FAILED;
    uint32_t is =
        (uint32_t)crc32_z(crc32_z(0, head + 4, HEAD_BYTES - 4), backlog->buffer.data, bytes);
    *ret_why = "is not what was written";
    if (is != sum || number != backlog->read_number)
        return FOUND_WRONG;
    *ret = (BacklogEntry){.data = backlog->buffer.data, .bytes = bytes};
    ret->begins = kind == KIND_BEGIN;
    ret->checkpoint = kind == KIND_CHECKPOINT || ret->begins;
    in = reader_over(ret->data, ret->bytes);
    if (ret->checkpoint ? !reader_u64(&in, &ret->at.major) || !reader_u64(&in, &ret->at.minor) ||
                              reader_left(&in)
                        : kind != KIND_BYTES)
        return FOUND_WRONG;
    backlog->read_at += HEAD_BYTES + bytes;
    backlog->read_number++;
    return FOUND_ENTRY;
}

static Found open_segment(Backlog *backlog, size_t index, const char **ret_why)
{
    char name[NAME_BYTES], magic[MAGIC_BYTES];
    const Segment *segment = &backlog->segments[index];
    name_of(segment->number, name);
    backlog->read_segment = index;
    backlog->read_at = MAGIC_BYTES;
    *ret_why = "has no beginning";
    backlog->reads = openat(backlog->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (backlog->reads < 0)
        return FOUND_FAILED;
    if (segment->bytes < MAGIC_BYTES)
        return FOUND_WRONG;
    if (!read_at(backlog->reads, magic, MAGIC_BYTES, 0))
        return FOUND_FAILED;
    if (memcmp(magic, MAGIC, MAGIC_BYTES) != 0 || segment->number != backlog->read_number)
        return FOUND_WRONG;
    return FOUND_END;
}

static void close_read(Backlog *backlog)
{
    if (backlog->reads >= 0)
        close(backlog->reads);
    backlog->reads = -1;
}

void backlog_rewind(Backlog *backlog)
{
    close_read(backlog);
    backlog->read_segment = 0;
    backlog->read_number = backlog->segment_count ? backlog->segments[0].number : backlog->next;
}

static Found next_entry(Backlog *backlog, BacklogEntry *ret, const char **ret_why)
{
    for (;;) {
        Found found;
        if (backlog->read_segment >= backlog->segment_count)
            return FOUND_END;
        if (backlog->reads < 0) {
            found = open_segment(backlog, backlog->read_segment, ret_why);
            if (found != FOUND_END)
                return found;
        }
        found = read_entry(backlog, ret, ret_why);
        if (found != FOUND_END || backlog->read_segment + 1 == backlog->segment_count)
            return found;
        close_read(backlog);
        backlog->read_segment++;
    }
}

bool backlog_next(Backlog *backlog, BacklogEntry *ret, bool *ret_any, Error *err)
{
    const char *why = "";
    Found found = next_entry(backlog, ret, &why);
    *ret_any = found == FOUND_ENTRY;
    return *ret_any || found == FOUND_END ? true
           : found == FOUND_FAILED        ? failed(backlog, "can't be read", err)
                                          : damaged(backlog, backlog->read_number, why, err);
}

/* ---------- opening ---------- */
/* What is behind the place goes. */
static bool cut(Backlog *backlog, size_t segment, uint64_t at, Error *err)
{
    char name[NAME_BYTES];
    size_t from = segment + (at > MAGIC_BYTES);
    if (from < backlog->segment_count &&
        !drop_segments(backlog, from, backlog->segment_count - from, err))
        return false;
    if (at <= MAGIC_BYTES || backlog->segments[segment].bytes == at)
        return true;
    name_of(backlog->segments[segment].number, name);
    int fd = openat(backlog->folder, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    bool ok = fd >= 0 && ftruncate(fd, (off_t)at) == 0 && fsync(fd) == 0;
    if (!ok)
        failed(backlog, name, err);
    if (fd >= 0)
        close(fd);
    backlog->bytes -= backlog->segments[segment].bytes - at;
    backlog->segments[segment].bytes = at;
    return ok;
}

static void count_entry(Backlog *backlog, Segment *segment, bool checkpoint, RowPosition at)
{
    segment->has_tail = !checkpoint;
    if (!checkpoint)
        return;
    if (!segment->has_checkpoint)
        segment->first = at;
    segment->has_checkpoint = true;
    segment->last = backlog->until = at;
}

/* Every entry is looked at. One that is wrong is torn, unless the source was told of what comes
 * behind it. */
static bool look(Backlog *backlog, RowPosition told, Error *err)
{
    size_t last_segment = 0;
    uint64_t last_at = 0, last_number = backlog->segment_count ? backlog->segments[0].number : 0;
    BacklogEntry entry;
    const char *why = "";
    Found found;
    backlog_rewind(backlog);
    while ((found = next_entry(backlog, &entry, &why)) == FOUND_ENTRY) {
        count_entry(backlog, &backlog->segments[backlog->read_segment], entry.checkpoint, entry.at);
        if (!entry.checkpoint)
            continue;
        last_segment = backlog->read_segment;
        last_at = backlog->read_at;
        last_number = backlog->read_number;
    }
    if (found == FOUND_FAILED)
        return failed(backlog, "can't be read", err);
    /* a file that has no more than its beginning: nothing was told before that is durable */
    bool is_new = backlog->segment_count == 1 && backlog->bytes <= BEGIN_BYTES;
    if (!is_new && backlog->segment_count && row_position_compare(told, backlog->until) > 0)
        return damaged(backlog, backlog->read_number,
                       found == FOUND_WRONG ? why : "is the last that is there", err);
    close_read(backlog);
    if (backlog->segment_count)
        backlog->segments[last_segment].has_tail = false;
    if (!cut(backlog, last_segment, last_at, err))
        return false;
    backlog->next = last_number;
    backlog_rewind(backlog);
    return true;
}

static bool take_folder(Backlog *backlog, Error *err)
{
    if (mkdir(backlog->path, 0700) != 0 && errno != EEXIST)
        return failed(backlog, "can't be made", err);
    backlog->folder = open(backlog->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (backlog->folder < 0)
        return failed(backlog, "can't be opened", err);
    backlog->lock =
        openat(backlog->folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (backlog->lock < 0)
        return failed(backlog, "can't be written to", err);
    return flock(backlog->lock, LOCK_EX | LOCK_NB) == 0 ||
           error_set(err, ERROR_RETRY, "SpoolTaken",
                     "spec.stream.spool.directory %s: another process writes there; each Connector "
                     "wants a folder of its own",
                     backlog->path);
}

Backlog *backlog_open(const char *folder, uint64_t bytes_max, uint64_t segment_bytes,
                      RowPosition told, Error *err)
{
    Backlog *backlog = mem_zalloc(sizeof *backlog);
    backlog->path = mem_strdup(folder);
    backlog->folder = backlog->lock = backlog->writes = backlog->reads = -1;
    backlog->bytes_max = bytes_max;
    backlog->segment_bytes = segment_bytes ? segment_bytes : BACKLOG_SEGMENT_BYTES;
    if (take_folder(backlog, err) && find_segments(backlog, err) && look(backlog, told, err))
        return backlog;
    backlog_close(backlog);
    return NULL;
}

/* ---------- writing ---------- */
static bool no_room(int number)
{
    return number == ENOSPC || number == EDQUOT;
}

static bool write_all(int fd, struct iovec *parts, int count)
{
    while (count) {
        ssize_t put = writev(fd, parts, count);
        if (put < 0 && errno != EINTR)
            return false;
        size_t done = put < 0 ? 0 : (size_t)put;
        for (; count && done >= parts->iov_len; parts++, count--)
            done -= parts->iov_len;
        if (count) {
            parts->iov_base = (uint8_t *)parts->iov_base + done;
            parts->iov_len -= done;
        }
    }
    return true;
}

/* The segment that is written to, a new one if that is full. False: errno says why. */
static bool segment_for(Backlog *backlog, uint64_t bytes)
{
    char name[NAME_BYTES];
    Segment *last = backlog->segment_count ? &backlog->segments[backlog->segment_count - 1] : NULL;
    bool is_full =
        last && last->bytes > MAGIC_BYTES && last->bytes + bytes > backlog->segment_bytes;
    if (backlog->writes >= 0 && !is_full)
        return true;
    if (backlog->writes >= 0 && (fsync(backlog->writes) != 0))
        return false;
    int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    bool is_new = !last || is_full;
    name_of(is_new ? backlog->next : last->number, name);
    int fd = openat(backlog->folder, name, flags | (is_new ? O_CREAT | O_EXCL : 0), 0600);
    if (fd < 0)
        return false;
    struct iovec magic = {(void *)(uintptr_t)MAGIC, MAGIC_BYTES};
    if (is_new && !write_all(fd, &magic, 1)) {
        int number = errno;
        (void)unlinkat(backlog->folder, name, 0);
        close(fd);
        errno = number;
        return false;
    }
    if (backlog->writes >= 0)
        close(backlog->writes);
    backlog->writes = fd;
    backlog->unsynced = backlog->unsynced || is_new;
    if (is_new)
        segment_add(backlog, backlog->next, MAGIC_BYTES);
    return true;
}

static bool put(Backlog *backlog, Kind kind, const void *data, size_t bytes, bool *ret_full,
                Error *err)
{
    ASSERT(bytes <= UINT32_MAX);
    uint64_t all = HEAD_BYTES + bytes;
    *ret_full = backlog->segment_count && backlog->bytes + all > backlog->bytes_max;
    if (*ret_full && kind == KIND_BYTES) /* a checkpoint is small, and says that rows count */
        return true;
    *ret_full = false;
    if (!segment_for(backlog, all)) {
        *ret_full = no_room(errno);
        return *ret_full ? true : failed(backlog, "can't be written to", err);
    }
    Segment *segment = &backlog->segments[backlog->segment_count - 1];
    Bytes head = {0};
    bytes_put_u32(&head, 0);
    bytes_put_u32(&head, (uint32_t)bytes);
    bytes_put_u64(&head, backlog->next);
    bytes_put_u8(&head, (uint8_t)kind);
    uint32_t sum = (uint32_t)crc32_z(crc32_z(0, head.data + 4, HEAD_BYTES - 4), data, bytes);
    memcpy(head.data, &sum, sizeof sum);
    struct iovec parts[] = {{head.data, HEAD_BYTES}, {(void *)(uintptr_t)data, bytes}};
    bool ok = write_all(backlog->writes, parts, 2);
    int number = errno;
    bytes_done(&head);
    if (ok) {
        segment->bytes += all;
        backlog->bytes += all;
        backlog->next++;
        const uint64_t *place = data;
        count_entry(backlog, segment, kind != KIND_BYTES,
                    kind == KIND_BYTES ? (RowPosition){0} : (RowPosition){place[0], place[1]});
        return true;
    }
    *ret_full = no_room(number) && ftruncate(backlog->writes, (off_t)segment->bytes) == 0;
    errno = number;
    return *ret_full ? true : failed(backlog, "can't be written to", err);
}

bool backlog_put(Backlog *backlog, const void *data, size_t bytes, bool *ret_full, Error *err)
{
    return put(backlog, KIND_BYTES, data, bytes, ret_full, err);
}

bool backlog_put_checkpoint(Backlog *backlog, RowPosition at, bool *ret_full, Error *err)
{
    uint64_t place[2] = {at.major, at.minor};
    static_assert(sizeof place == PLACE_BYTES, "two numbers");
    return put(backlog, KIND_CHECKPOINT, place, sizeof place, ret_full, err);
}

bool backlog_begin(Backlog *backlog, RowPosition at, Error *err)
{
    uint64_t place[2] = {at.major, at.minor};
    bool is_full;
    ASSERT(backlog_is_empty(backlog));
    if (!put(backlog, KIND_BEGIN, place, sizeof place, &is_full, err))
        return false;
    if (is_full)
        return failed(backlog, "has no room", err);
    return backlog_sync(backlog, err);
}

bool backlog_sync(Backlog *backlog, Error *err)
{
    if (backlog->writes >= 0 && fsync(backlog->writes) != 0)
        return failed(backlog, "can't be synced", err);
    if (backlog->unsynced && fsync(backlog->folder) != 0 && errno != EINVAL)
        return failed(backlog, "can't be synced", err);
    backlog->unsynced = false;
    return true;
}

/* How many segments end before the position. */
static size_t passed(const Backlog *backlog, RowPosition at)
{
    size_t count = 0;
    for (size_t i = 0; i < backlog->segment_count; i++) {
        const Segment *segment = &backlog->segments[i];
        /* what has a tail is not over before the checkpoint behind that */
        if (segment->has_checkpoint && row_position_compare(segment->first, at) <= 0)
            count = i;
        if (segment->has_checkpoint && row_position_compare(segment->last, at) > 0)
            break;
        if (segment->has_checkpoint && !segment->has_tail)
            count = i + 1;
    }
    bool all_read = backlog->read_number == backlog->next;
    return count == backlog->segment_count && !all_read ? count - 1 : count;
}

bool backlog_release(Backlog *backlog, RowPosition at, Error *err)
{
    size_t count = backlog->segment_count ? passed(backlog, at) : 0;
    if (!count)
        return true;
    if (count == backlog->segment_count && backlog->writes >= 0) {
        close(backlog->writes);
        backlog->writes = -1;
    }
    bool read_gone = backlog->read_segment < count;
    ASSERT(!read_gone || backlog->read_number >= backlog->segments[count - 1].number);
    if (!drop_segments(backlog, 0, count, err))
        return false;
    if (read_gone) {
        uint64_t number = backlog->read_number;
        backlog_rewind(backlog);
        ASSERT(backlog->read_number == number);
    } else {
        backlog->read_segment -= count;
    }
    return true;
}

/* ---------- a file beside ---------- */
bool backlog_keep(Backlog *backlog, const char *name, const void *data, size_t bytes, Error *err)
{
    uint32_t sum = (uint32_t)crc32_z(0, data, bytes);
    AUTO(mem_free) char *fresh = mem_format("%s.new", name);
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(backlog->folder, fresh, flags, 0600);
    if (fd < 0)
        return failed(backlog, fresh, err);
    struct iovec parts[] = {{&sum, sizeof sum}, {(void *)(uintptr_t)data, bytes}};
    bool ok = write_all(fd, parts, 2) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    ok = ok && renameat(backlog->folder, fresh, backlog->folder, name) == 0 &&
         (fsync(backlog->folder) == 0 || errno == EINVAL);
    return ok || failed(backlog, name, err);
}

bool backlog_kept(Backlog *backlog, const char *name, uint8_t **ret, size_t *ret_bytes, Error *err)
{
    struct stat about;
    uint32_t sum;
    *ret = NULL;
    int fd = openat(backlog->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return true;
    if (fd < 0 || fstat(fd, &about) != 0) {
        failed(backlog, name, err);
        if (fd >= 0)
            close(fd);
        return false;
    }
    uint64_t all = (uint64_t)about.st_size;
    if (all < sizeof sum || all > KEPT_MAX) {
        close(fd);
        return true;
    }
    size_t bytes = all - sizeof sum;
    uint8_t *data = mem_alloc(bytes + 1);
    bool ok = read_at(fd, &sum, sizeof sum, 0) && read_at(fd, data, bytes, sizeof sum);
    if (!ok)
        failed(backlog, name, err);
    close(fd);
    if (ok && crc32_z(0, data, bytes) == sum) {
        *ret = data;
        *ret_bytes = bytes;
    } else {
        free(data);
    }
    return ok;
}

bool backlog_is_empty(const Backlog *backlog)
{
    return backlog->segment_count == 0;
}

uint64_t backlog_bytes(const Backlog *backlog)
{
    return backlog->bytes;
}

RowPosition backlog_until(const Backlog *backlog)
{
    return backlog->until;
}

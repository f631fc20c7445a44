/* See spool.h. The file holds records (uint32 length, message) end to end; `tail` is what was put
 * last and is not in the file yet. Reading goes through the same buffer once writing is over. */
#include "agent/capture/postgres/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_BYTES ((size_t)256 << 10)
#define PAGE_KEPT_BYTES ((size_t)4 << 20)

typedef struct Beginning {
    uint32_t subxid;
    uint64_t at; /* of its first record */
} Beginning;

/* Before each message. */
typedef struct __attribute__((packed)) Entry {
    uint64_t lsn;
    uint32_t bytes;
} Entry;

struct Spool {
    uint32_t xid;
    int fd; /* -1 until something had to leave memory */
    uint64_t file_bytes;
    Bytes tail;
    Beginning *beginnings; /* of subtransactions, in order of `at` */
    size_t beginning_count, beginnings_held;
    uint32_t youngest; /* of all that ever began */
    /* reading */
    uint64_t read_at; /* in the file: of what follows `page` */
    Bytes page;       /* read from the file, not yet handed out from page_at on */
    size_t page_at;
    size_t tail_at;
};

Spool *spool_new(uint32_t xid)
{
    Spool *spool = mem_zalloc(sizeof *spool);
    spool->xid = spool->youngest = xid;
    spool->fd = -1;
    return spool;
}

void spool_free(Spool *spool)
{
    if (!spool)
        return;
    if (spool->fd >= 0)
        close(spool->fd);
    bytes_done(&spool->tail);
    bytes_done(&spool->page);
    free(spool->beginnings);
    free(spool);
}

uint32_t spool_xid(const Spool *spool)
{
    return spool->xid;
}

uint64_t spool_bytes(const Spool *spool)
{
    return spool->file_bytes + spool->tail.used;
}

static bool open_file(Spool *spool, Error *err)
{
    const char *folder = getenv("TMPDIR");
    if (!folder || !*folder)
        folder = "/tmp";
    spool->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (spool->fd < 0) { /* a file system without O_TMPFILE */
        char path[4096];
        snprintf(path, sizeof path, "%s/firn-spool-XXXXXX", folder);
        spool->fd = mkostemp(path, O_CLOEXEC);
        if (spool->fd >= 0)
            unlink(path);
    }
    if (spool->fd < 0)
        return error_errno(err, ERROR_FATAL, "SpoolFailed", errno,
                           "no temporary file in %s for a large transaction; set TMPDIR to a "
                           "folder that can be written",
                           folder);
    return true;
}

static bool write_bytes(Spool *spool, const uint8_t *data, size_t bytes, Error *err)
{
    if (spool->fd < 0 && !open_file(spool, err))
        return false;
    size_t done = 0;
    while (done < bytes) {
        ssize_t wrote =
            pwrite(spool->fd, data + done, bytes - done, (off_t)(spool->file_bytes + done));
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return error_errno(err, ERROR_FATAL, "SpoolFailed", errno,
                               "writing the spool of a transaction of %llu bytes; make room in "
                               "TMPDIR",
                               (unsigned long long)spool_bytes(spool));
        done += (size_t)wrote;
    }
    spool->file_bytes += done;
    return true;
}

static bool write_out(Spool *spool, Error *err)
{
    if (!write_bytes(spool, spool->tail.data, spool->tail.used, err))
        return false;
    bytes_clear(&spool->tail);
    return true;
}

static bool has_begun(const Spool *spool, uint32_t subxid)
{
    if ((int32_t)(subxid - spool->youngest) > 0)
        return false;
    for (size_t i = spool->beginning_count; i-- > 0;)
        if (spool->beginnings[i].subxid == subxid)
            return true;
    return false;
}

static void note_beginning(Spool *spool, uint32_t subxid)
{
    size_t count = spool->beginning_count;
    if (subxid == spool->xid || (count && spool->beginnings[count - 1].subxid == subxid) ||
        has_begun(spool, subxid))
        return;
    if (count == spool->beginnings_held) {
        spool->beginnings_held = count ? count * 2 : 8;
        spool->beginnings =
            mem_regrow(spool->beginnings, spool->beginnings_held, sizeof *spool->beginnings);
    }
    spool->beginnings[spool->beginning_count++] =
        (Beginning){.subxid = subxid, .at = spool_bytes(spool)};
    if ((int32_t)(subxid - spool->youngest) > 0)
        spool->youngest = subxid;
}

uint32_t *spool_subxids(const Spool *spool, size_t *ret_count)
{
    uint32_t *subxids = mem_array(spool->beginning_count, sizeof *subxids);
    for (size_t i = 0; i < spool->beginning_count; i++)
        subxids[i] = spool->beginnings[i].subxid;
    *ret_count = spool->beginning_count;
    return subxids;
}

bool spool_put(Spool *spool, uint32_t subxid, uint64_t lsn, const void *message, size_t bytes,
               Error *err)
{
    ASSERT(bytes <= UINT32_MAX);
    note_beginning(spool, subxid);
    Entry entry = {.lsn = lsn, .bytes = (uint32_t)bytes};
    if (spool->tail.used && spool->tail.used + bytes + sizeof entry > SPOOL_MEMORY_BYTES &&
        !write_out(spool, err))
        return false;
    bytes_put(&spool->tail, &entry, sizeof entry);
    if (bytes > SPOOL_MEMORY_BYTES) /* past the tail, which would keep its memory */
        return write_out(spool, err) && write_bytes(spool, message, bytes, err);
    bytes_put(&spool->tail, message, bytes);
    return true;
}

bool spool_abort(Spool *spool, uint32_t subxid, Error *err)
{
    size_t i = spool->beginning_count;
    while (i > 0 && spool->beginnings[i - 1].subxid != subxid)
        i--;
    if (i == 0)
        return true;
    uint64_t at = spool->beginnings[i - 1].at;
    spool->beginning_count = i - 1;
    if (at >= spool->file_bytes) {
        spool->tail.used = (size_t)(at - spool->file_bytes);
        return true;
    }
    bytes_clear(&spool->tail);
    spool->file_bytes = at;
    if (ftruncate(spool->fd, (off_t)at) != 0)
        return error_errno(err, ERROR_FATAL, "SpoolFailed", errno, "cutting a spool");
    return true;
}

/* At least `bytes` from page_at on, which the file has. */
static bool fill_page(Spool *spool, size_t bytes, Error *err)
{
    Bytes *page = &spool->page;
    size_t left = page->used - spool->page_at;
    if (left >= bytes)
        return true;
    if (left)
        memmove(page->data, page->data + spool->page_at, left);
    page->used = left;
    spool->page_at = 0;
    while (page->used < bytes) {
        uint64_t in_file = spool->file_bytes - spool->read_at;
        size_t want = bytes - page->used > READ_BYTES ? bytes - page->used : READ_BYTES;
        if (want > in_file)
            want = (size_t)in_file;
        bytes_reserve(page, want);
        ssize_t got =
            want ? pread(spool->fd, page->data + page->used, want, (off_t)spool->read_at) : 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_errno(err, ERROR_FATAL, "SpoolFailed", got < 0 ? errno : EIO,
                               "reading back a spool");
        page->used += (size_t)got;
        spool->read_at += (uint64_t)got;
    }
    return true;
}

void spool_rest(Spool *spool)
{
    Bytes *page = &spool->page, left = {0};
    if (page->held <= PAGE_KEPT_BYTES)
        return;
    bytes_put(&left, page->data + spool->page_at, page->used - spool->page_at);
    bytes_done(page);
    *page = left;
    spool->page_at = 0;
}

bool spool_next(Spool *spool, const uint8_t **ret, size_t *ret_bytes, uint64_t *ret_lsn, Error *err)
{
    Entry entry = {0};
    *ret = NULL;
    if (spool->read_at < spool->file_bytes || spool->page_at < spool->page.used) {
        if (!fill_page(spool, sizeof entry, err))
            return false;
        memcpy(&entry, spool->page.data + spool->page_at, sizeof entry);
        if (!fill_page(spool, sizeof entry + entry.bytes, err))
            return false;
        *ret = spool->page.data + spool->page_at + sizeof entry;
        spool->page_at += sizeof entry + entry.bytes;
    } else if (spool->tail_at < spool->tail.used) {
        memcpy(&entry, spool->tail.data + spool->tail_at, sizeof entry);
        *ret = spool->tail.data + spool->tail_at + sizeof entry;
        spool->tail_at += sizeof entry + entry.bytes;
    }
    *ret_bytes = entry.bytes;
    *ret_lsn = entry.lsn;
    return true;
}

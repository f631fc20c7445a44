/* Writing one object. What fits into one part is one PUT at finish; else parts go out while the
 * writer goes on: a full buffer is handed to the store's pool of threads, and the writer takes a
 * spare one. A writer has at most two parts on their way, and the pool's queue holds few, so that
 * memory is bounded by the threads and not by the number of writers; a full queue is the
 * back-pressure.
 *
 * Nothing is visible before the completing request. It may be carried out although its answer is
 * lost, and is then refused as unknown when it is repeated: what stands there decides. An upload
 * that fails or is given up is aborted, after its last part under way has ended: a part that came
 * after the abort would stay, and cost, for ever. What a crash leaves, s3_sweep finds. */
#include <stdio.h>

#include "agent/store/s3/s3.h"
#include "common/queue.h"
#include "common/thread.h"
#include "common/xml.h"

#define PART_BYTES ((size_t)8 << 20)
#define PART_BYTES_FIRST ((size_t)64 << 10) /* the buffer grows to a part's size */
#define PARTS_PER_SIZE 2000                 /* then parts are twice as large: 10,000 make 480 GiB */
#define PARTS_MAX 10000
#define THREADS 4
#define QUEUED_MAX 2
#define UNDER_WAY_MAX 2
#define ABORT_ATTEMPTS 3
#define ETAG_BYTES 96

typedef struct Sent {
    char etag[ETAG_BYTES];
    char checksum[S3_CHECKSUM_BYTES];
} Sent;

typedef struct S3Writer {
    StoreWriter writer;
    S3Place place;
    Bytes buffer;
    uint64_t bytes; /* handed over */
    char *upload;   /* escaped id; NULL: none begun */
    bool done;      /* finished, or nothing left to abort */
    atomic_bool stop;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t ended;
    unsigned under_way;
    Bytes spare;
    Sent *sent;
    size_t sent_held, parts;
    bool failed;
    Error err; /* of the first part that failed */
} S3Writer;

typedef struct Part {
    S3Writer *writer;
    Bytes data;
    size_t number; /* from 1 */
} Part;

struct S3Uploads {
    Queue *queue;
    Thread *threads[THREADS];
};

static S3Store *store_of(const S3Writer *w)
{
    return (S3Store *)w->writer.store;
}

/* ---------- the pool ---------- */

static bool send_part(S3Writer *w, const Part *part, Sent *ret, Error *err)
{
    AUTO(mem_free) char *query = mem_format("partNumber=%zu&uploadId=%s", part->number, w->upload);
    S3Call call = {.doing = "write",
                   .method = "PUT",
                   .place = &w->place,
                   .query = query,
                   .body = part->data.data,
                   .body_bytes = part->data.used,
                   .stop = &w->stop};
    S3Answer answer = {0};
    bool ok = s3_call(store_of(w), &call, &answer, err);
    AUTO(mem_free) char *etag = ok ? http_answer_header(&answer.http, "etag") : NULL;
    s3_answer_done(&answer);
    if (!ok)
        return false;
    if (!etag || !*etag || strlen(etag) >= ETAG_BYTES || strpbrk(etag, "<>&"))
        return error_set(err, ERROR_RETRY, "StoreFailed", "write %.300s: a part got no ETag",
                         w->place.uri);
    snprintf(ret->etag, sizeof ret->etag, "%s", etag);
    s3_checksum(part->data.data, part->data.used, ret->checksum);
    return true;
}

static void part_ends(Part *part, const Sent *sent, const Error *err)
{
    S3Writer *w = part->writer;
    pthread_mutex_lock(&w->lock);
    if (sent) {
        w->sent[part->number - 1] = *sent;
    } else if (!w->failed) {
        w->failed = true;
        w->err = *err;
        atomic_store(&w->stop, true);
    }
    bytes_clear(&part->data);
    if (w->spare.data)
        bytes_done(&part->data);
    else
        w->spare = part->data;
    w->under_way--;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock); /* from here on the writer may be gone */
    free(part);
}

static void run_uploads(void *at)
{
    S3Uploads *uploads = at;
    void *item;
    while (queue_take(uploads->queue, &item, -1) == QUEUE_OK) {
        Part *part = item;
        Sent sent;
        Error err = {0};
        bool stopped = atomic_load(&part->writer->stop);
        bool ok = !stopped && send_part(part->writer, part, &sent, &err);
        part_ends(part, ok ? &sent : NULL, &err);
    }
}

static void part_free(void *item)
{
    (void)item;
    ASSERT(!"a writer outlived its store");
}

static S3Uploads *uploads_of(S3Store *store)
{
    pthread_mutex_lock(&store->lock);
    if (!store->uploads) {
        store->uploads = mem_zalloc(sizeof *store->uploads);
        store->uploads->queue = queue_new(QUEUED_MAX, SIZE_MAX, part_free);
        for (size_t i = 0; i < THREADS; i++)
            store->uploads->threads[i] = thread_start("s3-upload", run_uploads, store->uploads);
    }
    S3Uploads *uploads = store->uploads;
    pthread_mutex_unlock(&store->lock);
    return uploads;
}

void s3_uploads_free(S3Uploads *uploads)
{
    if (!uploads)
        return;
    queue_close(uploads->queue);
    for (size_t i = 0; i < THREADS; i++)
        thread_join(uploads->threads[i]);
    queue_free(uploads->queue);
    free(uploads);
}

/* ---------- parts ---------- */

static bool take_upload_id(void *context, const char *path, const char *text)
{
    char **upload = context;
    if (strcmp(path, "InitiateMultipartUploadResult/UploadId") == 0 && *text && !*upload)
        *upload = http_escape(text, "");
    return true;
}

static bool begin(S3Writer *w, Error *err)
{
    S3Call call = {.doing = "write",
                   .method = "POST",
                   .place = &w->place,
                   .query = "uploads=",
                   .headers = {{"x-amz-checksum-algorithm", "CRC32C"}},
                   .header_count = 1};
    S3Answer answer = {0};
    bool ok =
        s3_call(store_of(w), &call, &answer, err) &&
        xml_read(answer.http.body.data, answer.http.body.used, take_upload_id, &w->upload, err);
    s3_answer_done(&answer);
    if (ok && !w->upload)
        ok = error_set(err, ERROR_RETRY, "StoreFailed", "write %.300s: the upload got no id",
                       w->place.uri);
    return ok;
}

static size_t part_bytes_of(const S3Writer *w)
{
    return PART_BYTES << (w->parts / PARTS_PER_SIZE);
}

/* Waits until at most so many parts are under way; false when one has failed. */
static bool wait_for(S3Writer *w, unsigned under_way_max, Error *err)
{
    pthread_mutex_lock(&w->lock);
    while (w->under_way > under_way_max)
        pthread_cond_wait(&w->ended, &w->lock);
    bool failed = w->failed;
    if (failed && err)
        *err = w->err;
    pthread_mutex_unlock(&w->lock);
    return !failed;
}

static bool hand_over(S3Writer *w, Error *err)
{
    if ((!w->upload && !begin(w, err)) || !wait_for(w, UNDER_WAY_MAX - 1, err))
        return false;
    if (w->parts == PARTS_MAX)
        return error_set(err, ERROR_CONFIG, "ObjectTooLarge",
                         "write %.300s: an object has at most %d parts", w->place.uri, PARTS_MAX);
    Part *part = mem_zalloc(sizeof *part);
    *part = (Part){.writer = w, .data = w->buffer, .number = w->parts + 1};
    pthread_mutex_lock(&w->lock);
    if (w->parts == w->sent_held) {
        w->sent_held = w->sent_held ? w->sent_held * 2 : 16;
        w->sent = mem_regrow(w->sent, w->sent_held, sizeof(Sent));
    }
    w->parts++;
    w->under_way++;
    w->buffer = w->spare;
    w->spare = (Bytes){0};
    pthread_mutex_unlock(&w->lock);
    w->bytes += part->data.used;
    size_t bytes = part->data.used;
    ASSERT(queue_put(uploads_of(store_of(w))->queue, part, bytes, -1) == QUEUE_OK);
    return true;
}

/* ---------- the writer ---------- */

StoreWriter *s3_create(Store *store, const char *uri, Error *err)
{
    S3Place place;
    if (!s3_place_of(uri, &place, err))
        return NULL;
    if (!*place.key || strlen(place.key) > 1024) {
        s3_place_done(&place);
        error_set(err, ERROR_CONFIG, "LocationUnusable", "%.300s: a key has 1 to 1024 bytes", uri);
        return NULL;
    }
    S3Writer *w = mem_zalloc(sizeof *w);
    w->writer.store = store;
    w->place = place;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->ended, NULL);
    return &w->writer;
}

bool s3_write(StoreWriter *writer, const void *data, size_t bytes, Error *err)
{
    S3Writer *w = (S3Writer *)writer;
    const uint8_t *at = data;
    while (bytes) {
        size_t room = part_bytes_of(w) - w->buffer.used;
        if (!room) {
            if (!hand_over(w, err))
                return false;
            continue;
        }
        size_t now = bytes < room ? bytes : room;
        if (w->buffer.held - w->buffer.used < now) {
            size_t held = w->buffer.held ? w->buffer.held * 2 : PART_BYTES_FIRST;
            while (held < w->buffer.used + now)
                held *= 2;
            w->buffer.data = mem_regrow(w->buffer.data, held, 1);
            w->buffer.held = held;
        }
        bytes_put(&w->buffer, at, now);
        at += now;
        bytes -= now;
    }
    return true;
}

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

static Bytes parts_document(const S3Writer *w)
{
    Bytes body = {0};
    put_text(&body, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t i = 0; i < w->parts; i++) {
        AUTO(mem_free)
        char *part = mem_format("<Part><PartNumber>%zu</PartNumber><ETag>%s</ETag>"
                                "<ChecksumCRC32C>%s</ChecksumCRC32C></Part>",
                                i + 1, w->sent[i].etag, w->sent[i].checksum);
        put_text(&body, part);
    }
    put_text(&body, "</CompleteMultipartUpload>");
    return body;
}

/* Whether the object is there as this writer made it: its length, and the number of parts where
 * the ETag tells. */
static bool stands_there(S3Writer *w, bool *ret, Error *err)
{
    uint64_t bytes = 0;
    char *etag = NULL;
    bool ok = s3_head(store_of(w), &w->place, ret, &bytes, &etag, err);
    if (ok && *ret) {
        char parts[24];
        snprintf(parts, sizeof parts, "-%zu\"", w->parts);
        const char *dash = etag ? strrchr(etag, '-') : NULL;
        *ret = bytes == w->bytes && (!dash || strcmp(dash, parts) == 0);
    }
    free(etag);
    return ok;
}

static bool complete(S3Writer *w, Error *err)
{
    AUTO(mem_free) char *query = mem_format("uploadId=%s", w->upload);
    Bytes body = parts_document(w);
    S3Call call = {.doing = "write",
                   .method = "POST",
                   .place = &w->place,
                   .query = query,
                   .headers = {{"content-type", "application/xml"}},
                   .header_count = 1,
                   .body = body.data,
                   .body_bytes = body.used,
                   .patient = true,
                   .also = 404};
    S3Answer answer = {0};
    Error failed = {0};
    bool ok = s3_call(store_of(w), &call, &answer, &failed), there = false;
    bool unknown = ok && answer.http.status == 404;
    if (unknown)
        ok = error_set(&failed, ERROR_RETRY, "UploadLost",
                       "write %.300s: the server no longer knows the upload", w->place.uri);
    if (!ok && answer.repeated && stands_there(w, &there, NULL) && there)
        ok = true;
    if (!ok && err)
        *err = failed;
    s3_answer_done(&answer);
    bytes_done(&body);
    return ok;
}

bool s3_finish(StoreWriter *writer, Error *err)
{
    S3Writer *w = (S3Writer *)writer;
    if (!w->upload) {
        if (!s3_put(store_of(w), &w->place, w->buffer.data, w->buffer.used, err))
            return false;
    } else {
        if ((w->buffer.used && !hand_over(w, err)) || !wait_for(w, 0, err))
            return false;
        if (!complete(w, err))
            return false;
    }
    w->done = true;
    return true;
}

void s3_writer_free(StoreWriter *writer)
{
    S3Writer *w = (S3Writer *)writer;
    atomic_store(&w->stop, true);
    (void)wait_for(w, 0, NULL);
    if (w->upload && !w->done) {
        AUTO(mem_free) char *query = mem_format("uploadId=%s", w->upload);
        S3Call call = {.doing = "abort the upload of",
                       .method = "DELETE",
                       .place = &w->place,
                       .query = query,
                       .attempts_max = ABORT_ATTEMPTS,
                       .also = 404};
        S3Answer answer = {0};
        (void)!s3_call(store_of(w), &call, &answer, NULL); /* else the sweep finds it */
        s3_answer_done(&answer);
    }
    pthread_cond_destroy(&w->ended);
    pthread_mutex_destroy(&w->lock);
    bytes_done(&w->buffer);
    bytes_done(&w->spare);
    free(w->sent);
    free(w->upload);
    s3_place_done(&w->place);
    free(w);
}

/* See backlog.h. */
#include "agent/relay/backlog.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "agent/relay/place.h"
#include "common/clock.h"
#include "common/bytes.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/reader.h"
#include "common/thread.h"

#define MAGIC "FIRNSPL2"
#define MAGIC_BYTES 8u
#define SUM_BYTES 4u
#define HEAD_BYTES 44u /* of a segment */
#define ENTRY_BYTES 17u
#define PLACE_BYTES 16u
#define AGAIN_MS 500 /* what can't be written just now */

typedef enum Kind { KIND_BYTES = 1, KIND_CHECKPOINT = 2 } Kind;

typedef struct Segment {
    PlaceSegment place;
    RowPosition from;        /* the checkpoint before it */
    RowPosition first, last; /* its own */
    bool has_checkpoint;
    bool has_tail; /* bytes behind the last one: of the next segment's first */
} Segment;

/* The segment that the thread writes. */
typedef enum JobState { JOB_NONE, JOB_WAITS, JOB_DONE, JOB_FAILED } JobState;
typedef struct Job {
    JobState state;
    Segment segment;
    Bytes bytes;
    bool no_room; /* the store has none, just now */
    Error error;
} Job;

struct Backlog {
    Place place;
    uint64_t bytes_max, segment_bytes;
    Segment *segments; /* that are written, and not released */
    size_t segment_count, segments_held;
    uint64_t bytes; /* of all segments, written or not */
    RowPosition until;
    /* putting */
    Segment open;
    Bytes gathered; /* of the open one; empty: there is none */
    size_t last_at; /* in it: its last entry, if that is a checkpoint; else 0 */
    uint64_t next;  /* number of the next entry */
    RowPosition put_until;
    bool flushes; /* the open one is to be written as soon as it can be */
    bool has_job; /* the thread has one, or it was not looked at since */
    /* writing */
    Thread *thread;
    pthread_mutex_t lock; /* over the job and `quits` */
    pthread_cond_t changed;
    Job job;
    bool quits;
    /* reading */
    Bytes buffer; /* the segment read_segment, if has_read */
    bool has_read;
    size_t read_segment;
    uint64_t read_at, read_number;
};

/* ---------- what is there ---------- */
static bool damaged(const Backlog *backlog, uint64_t number, const char *why, Error *err)
{
    return error_set(
        err, ERROR_CONFIG, "SpoolDamaged",
        "spec.stream.spool.location %.200s: entry %llu %s, and those behind it are needed: "
        "what the source was told is not all there; remove the place's objects and load "
        "the tables again with --resnapshot '*.*'",
        backlog->place.uri, (unsigned long long)number, why);
}

static Segment *segment_add(Backlog *backlog, const Segment *segment)
{
    if (backlog->segment_count == backlog->segments_held) {
        backlog->segments_held = backlog->segments_held ? backlog->segments_held * 2 : 16;
        backlog->segments =
            mem_regrow(backlog->segments, backlog->segments_held, sizeof *backlog->segments);
    }
    backlog->segments[backlog->segment_count] = *segment;
    return &backlog->segments[backlog->segment_count++];
}

static void count_entry(Segment *segment, bool checkpoint, RowPosition at)
{
    segment->has_tail = !checkpoint;
    if (!checkpoint)
        return;
    if (!segment->has_checkpoint)
        segment->first = at;
    segment->has_checkpoint = true;
    segment->last = at;
}

bool backlog_is_written(const Backlog *backlog)
{
    return !backlog->gathered.used && !backlog->has_job;
}

bool backlog_is_empty(const Backlog *backlog)
{
    return backlog->segment_count == 0 && backlog_is_written(backlog);
}

uint64_t backlog_bytes(const Backlog *backlog)
{
    return backlog->bytes;
}

RowPosition backlog_from(const Backlog *backlog)
{
    return backlog->segment_count ? backlog->segments[0].from : backlog->put_until;
}

RowPosition backlog_until(const Backlog *backlog)
{
    return backlog->until;
}

/* ---------- the thread ---------- */
static void wait_for(Backlog *backlog, int wait_ms)
{
    struct timespec until = clock_mono_in(wait_ms);
    pthread_cond_timedwait(&backlog->changed, &backlog->lock, &until);
}

/* What passes by itself is waited for: the source keeps its log meanwhile. */
static void write_job(Backlog *backlog, bool *said)
{
    Job *job = &backlog->job;
    Error why = {0};
    pthread_mutex_unlock(&backlog->lock);
    bool ok = place_write(&backlog->place, job->segment.place.number, job->bytes.data,
                          job->bytes.used, &why);
    pthread_mutex_lock(&backlog->lock);
    bool passes = !ok && why.kind == ERROR_RETRY && strcmp(why.code, "SpoolTaken") != 0;
    job->no_room = passes && strcmp(why.code, "DiskFull") == 0;
    if (passes && !*said)
        log_warn("the spool can't be written to: the source keeps its log",
                 LOG_T("reason", why.code), LOG_T("error", why.message));
    *said = passes;
    if (passes) {
        if (!backlog->quits)
            wait_for(backlog, AGAIN_MS);
        return;
    }
    job->error = why;
    job->state = ok ? JOB_DONE : JOB_FAILED;
    pthread_cond_broadcast(&backlog->changed);
}

static void write_on(void *argument)
{
    Backlog *backlog = argument;
    bool said = false;
    pthread_mutex_lock(&backlog->lock);
    while (!backlog->quits)
        if (backlog->job.state == JOB_WAITS)
            write_job(backlog, &said);
        else
            pthread_cond_wait(&backlog->changed, &backlog->lock);
    pthread_mutex_unlock(&backlog->lock);
}

/* Its memory stays, but what a very large entry has taken. */
static void empty(const Backlog *backlog, Bytes *bytes)
{
    bytes_clear(bytes);
    if (bytes->held > 2 * backlog->segment_bytes)
        bytes_done(bytes);
}

/* The open segment goes to the thread; false: that has one. */
static bool seal(Backlog *backlog)
{
    Job *job = &backlog->job;
    ASSERT(backlog->gathered.used);
    if (backlog->has_job)
        return false;
    backlog->open.place.end = backlog->next;
    backlog->open.place.bytes = backlog->gathered.used;
    pthread_mutex_lock(&backlog->lock);
    Bytes used = job->bytes;
    job->segment = backlog->open;
    job->bytes = backlog->gathered;
    job->state = JOB_WAITS;
    pthread_cond_broadcast(&backlog->changed);
    pthread_mutex_unlock(&backlog->lock);
    backlog->gathered = used;
    empty(backlog, &backlog->gathered);
    backlog->last_at = 0;
    backlog->flushes = false;
    backlog->has_job = true;
    return true;
}

bool backlog_look(Backlog *backlog, Error *err)
{
    pthread_mutex_lock(&backlog->lock);
    JobState state = backlog->job.state;
    if (state == JOB_DONE)
        backlog->job.state = JOB_NONE;
    pthread_mutex_unlock(&backlog->lock);
    if (state == JOB_FAILED) {
        *err = backlog->job.error;
        return false;
    }
    if (state == JOB_DONE) {
        const Segment *segment = segment_add(backlog, &backlog->job.segment);
        if (segment->has_checkpoint)
            backlog->until = segment->last;
        if (backlog->read_segment + 1 == backlog->segment_count && !backlog->has_read) {
            /* it is the next to be read: it need not come back from where it went */
            Bytes used = backlog->buffer;
            backlog->buffer = backlog->job.bytes;
            backlog->job.bytes = used;
            backlog->has_read = true;
            backlog->read_at = HEAD_BYTES;
            backlog->read_number = segment->place.number;
        }
        empty(backlog, &backlog->job.bytes);
        backlog->has_job = false;
    }
    if (backlog->flushes && backlog->gathered.used)
        (void)seal(backlog);
    return true;
}

bool backlog_flush(Backlog *backlog, Error *err)
{
    backlog->flushes = backlog->gathered.used > 0;
    return backlog_look(backlog, err);
}

void backlog_wait(Backlog *backlog, int wait_ms)
{
    pthread_mutex_lock(&backlog->lock);
    if (backlog->job.state == JOB_WAITS)
        wait_for(backlog, wait_ms);
    pthread_mutex_unlock(&backlog->lock);
}

bool backlog_is_ours(const Backlog *backlog, Error *err)
{
    return place_is_ours(&backlog->place, err);
}

/* ---------- putting ---------- */
static void begin_segment(Backlog *backlog)
{
    Bytes *to = &backlog->gathered;
    const RowPosition from = backlog->put_until;
    backlog->open =
        (Segment){.place = {.number = backlog->next, .epoch = backlog->place.epoch}, .from = from};
    bytes_put(to, MAGIC, MAGIC_BYTES);
    bytes_put_u32(to, 0);
    bytes_put_u64(to, backlog->next);
    bytes_put_u64(to, backlog->place.epoch);
    bytes_put_u64(to, from.major);
    bytes_put_u64(to, from.minor);
    ASSERT(to->used == HEAD_BYTES);
    const uint8_t *rest = to->data + MAGIC_BYTES + SUM_BYTES;
    uint32_t sum = (uint32_t)crc32_z(0, rest, HEAD_BYTES - MAGIC_BYTES - SUM_BYTES);
    memcpy(to->data + MAGIC_BYTES, &sum, SUM_BYTES);
    backlog->bytes += HEAD_BYTES;
}

static void put_entry(Backlog *backlog, Kind kind, const void *data, size_t bytes)
{
    Bytes *to = &backlog->gathered;
    ASSERT(bytes <= UINT32_MAX);
    if (!to->used)
        begin_segment(backlog);
    size_t at = to->used;
    bytes_put_u32(to, 0);
    bytes_put_u32(to, (uint32_t)bytes);
    bytes_put_u64(to, backlog->next++);
    bytes_put_u8(to, (uint8_t)kind);
    bytes_put(to, data, bytes);
    uint32_t sum = (uint32_t)crc32_z(0, to->data + at + SUM_BYTES, to->used - at - SUM_BYTES);
    memcpy(to->data + at, &sum, SUM_BYTES);
    backlog->bytes += to->used - at;
    backlog->last_at = kind == KIND_CHECKPOINT ? at : 0;
}

static bool has_no_room(Backlog *backlog)
{
    pthread_mutex_lock(&backlog->lock);
    bool no_room = backlog->job.no_room;
    pthread_mutex_unlock(&backlog->lock);
    return no_room;
}

bool backlog_put(Backlog *backlog, const void *data, size_t bytes, BacklogRoom *ret, Error *err)
{
    uint64_t all = ENTRY_BYTES + bytes;
    *ret = BACKLOG_PUT;
    if (!backlog_look(backlog, err))
        return false;
    if (backlog->bytes && backlog->bytes + all > backlog->bytes_max) {
        *ret = BACKLOG_FULL;
        return backlog_flush(backlog, err); /* what is there can be given, and goes then */
    }
    if (backlog->gathered.used && backlog->gathered.used + all > backlog->segment_bytes &&
        !seal(backlog)) {
        *ret = has_no_room(backlog) ? BACKLOG_FULL : BACKLOG_BUSY;
        return true;
    }
    put_entry(backlog, KIND_BYTES, data, bytes);
    count_entry(&backlog->open, false, (RowPosition){0});
    return true;
}

/* Small, and says that rows count: it is let in at any time. One that follows another takes its
 * place. */
void backlog_put_checkpoint(Backlog *backlog, RowPosition at)
{
    uint64_t place[2] = {at.major, at.minor};
    static_assert(sizeof place == PLACE_BYTES, "two numbers");
    if (backlog->last_at) {
        backlog->bytes -= backlog->gathered.used - backlog->last_at;
        backlog->gathered.used = backlog->last_at;
        backlog->next--;
    }
    put_entry(backlog, KIND_CHECKPOINT, place, sizeof place);
    count_entry(&backlog->open, true, at);
    backlog->put_until = at;
}

void backlog_begin(Backlog *backlog, RowPosition at)
{
    ASSERT(backlog_is_empty(backlog));
    backlog->put_until = at;
}

/* ---------- reading ---------- */
typedef enum Found { FOUND_ENTRY, FOUND_END, FOUND_WRONG, FOUND_FAILED } Found;

void backlog_rewind(Backlog *backlog)
{
    backlog->has_read = false;
    backlog->read_segment = 0;
}

/* Is the buffer the segment that it ought to be? */
static bool is_segment(Backlog *backlog, Segment *segment)
{
    uint32_t sum;
    uint64_t number, epoch;
    const Bytes *buffer = &backlog->buffer;
    if (buffer->used <= HEAD_BYTES || memcmp(buffer->data, MAGIC, MAGIC_BYTES) != 0)
        return false;
    Reader in = reader_over(buffer->data + MAGIC_BYTES, HEAD_BYTES - MAGIC_BYTES);
    bool all = reader_u32(&in, &sum) && reader_u64(&in, &number) && reader_u64(&in, &epoch) &&
               reader_u64(&in, &segment->from.major) && reader_u64(&in, &segment->from.minor);
    ASSERT(all && !reader_left(&in));
    return crc32_z(0, buffer->data + MAGIC_BYTES + SUM_BYTES,
                   HEAD_BYTES - MAGIC_BYTES - SUM_BYTES) == sum &&
           number == segment->place.number && epoch == segment->place.epoch;
}

static Found read_segment(Backlog *backlog, const char **ret_why, Error *err)
{
    Segment *segment = &backlog->segments[backlog->read_segment];
    const Segment *before = backlog->read_segment ? segment - 1 : NULL;
    backlog->read_number = before ? before->place.end : segment->place.number;
    *ret_why = "is not there";
    if (segment->place.number != backlog->read_number)
        return FOUND_WRONG;
    bytes_clear(&backlog->buffer);
    if (!place_read(&backlog->place, &segment->place, &backlog->buffer, err))
        return err->kind == ERROR_DATA ? FOUND_WRONG : FOUND_FAILED;
    *ret_why = "is in a segment that is not what was written";
    if (!is_segment(backlog, segment))
        return FOUND_WRONG;
    backlog->read_at = HEAD_BYTES;
    backlog->has_read = true;
    return FOUND_END;
}

/* The entry at read_at; what is wrong with it, *ret_why says. */
static Found read_entry(Backlog *backlog, BacklogEntry *ret, const char **ret_why)
{
    const Bytes *buffer = &backlog->buffer;
    Reader in = reader_over(buffer->data + backlog->read_at, buffer->used - backlog->read_at);
    const uint8_t *begins = in.at + SUM_BYTES;
    uint32_t sum, bytes;
    uint64_t number;
    uint8_t kind;
    *ret_why = "is cut short";
    if (!reader_u32(&in, &sum) || !reader_u32(&in, &bytes) || !reader_u64(&in, &number) ||
        !reader_u8(&in, &kind) || !reader_take(&in, bytes, &ret->data))
        return FOUND_WRONG;
    *ret_why = "is not what was written";
    if (crc32_z(0, begins, (size_t)(in.at - begins)) != sum || number != backlog->read_number)
        return FOUND_WRONG;
    ret->bytes = bytes;
    ret->checkpoint = kind == KIND_CHECKPOINT;
    Reader place = reader_over(ret->data, ret->bytes);
    if (ret->checkpoint ? !reader_u64(&place, &ret->at.major) ||
                              !reader_u64(&place, &ret->at.minor) || reader_left(&place)
                        : kind != KIND_BYTES)
        return FOUND_WRONG;
    backlog->read_at += ENTRY_BYTES + bytes;
    backlog->read_number++;
    return FOUND_ENTRY;
}

static Found next_entry(Backlog *backlog, BacklogEntry *ret, const char **ret_why, Error *err)
{
    *ret = (BacklogEntry){0};
    while (backlog->read_segment < backlog->segment_count) {
        if (!backlog->has_read) {
            Found found = read_segment(backlog, ret_why, err);
            if (found != FOUND_END)
                return found;
        }
        PlaceSegment *place = &backlog->segments[backlog->read_segment].place;
        bool over = place->end ? backlog->read_number == place->end
                               : backlog->read_at == backlog->buffer.used;
        if (!over)
            return read_entry(backlog, ret, ret_why);
        place->end = backlog->read_number;
        backlog->has_read = false;
        backlog->read_segment++;
    }
    return FOUND_END;
}

bool backlog_next(Backlog *backlog, BacklogEntry *ret, bool *ret_any, Error *err)
{
    const char *why = "";
    Found found = next_entry(backlog, ret, &why, err);
    *ret_any = found == FOUND_ENTRY;
    if (found == FOUND_WRONG)
        return damaged(backlog, backlog->read_number, why, err);
    return found != FOUND_FAILED;
}

/* ---------- opening ---------- */
/* What is behind the last checkpoint does not count: `segments` segments do, of the last one what
 * is before the number. */
static bool cut(Backlog *backlog, size_t segments, uint64_t number, Error *err)
{
    PlaceSegment *places = mem_array(segments + 1, sizeof *places);
    backlog->segment_count = segments;
    backlog->bytes = 0;
    if (segments) {
        backlog->segments[segments - 1].place.end = number;
        backlog->segments[segments - 1].has_tail = false;
    }
    for (size_t i = 0; i < segments; i++) {
        places[i] = backlog->segments[i].place;
        backlog->bytes += places[i].bytes;
    }
    bool ok = place_leave(&backlog->place, places, segments, err);
    free(places);
    backlog->next = number;
    backlog->put_until = backlog->until;
    backlog_rewind(backlog);
    return ok;
}

/* Every entry is looked at. One that is wrong is no loss, unless the source was told of what comes
 * behind it. */
static bool look(Backlog *backlog, RowPosition told, Error *err)
{
    size_t segments = 0;
    uint64_t number = 0;
    BacklogEntry entry;
    const char *why = "is the last that is there";
    Found found;
    while ((found = next_entry(backlog, &entry, &why, err)) == FOUND_ENTRY) {
        Segment *segment = &backlog->segments[backlog->read_segment];
        if (!segments && row_position_compare(segment->from, backlog->until) > 0)
            backlog->until = segment->from; /* as of the beginning */
        count_entry(segment, entry.checkpoint, entry.at);
        if (!entry.checkpoint)
            continue;
        segments = backlog->read_segment + 1;
        number = backlog->read_number;
        backlog->until = entry.at;
    }
    if (found == FOUND_FAILED)
        return false;
    if (found == FOUND_END)
        why = "is the last that is there";
    if (backlog->segment_count && row_position_compare(told, backlog->until) > 0)
        return damaged(backlog, backlog->read_number, why, err);
    return cut(backlog, segments, number, err);
}

static void start(Backlog *backlog)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&backlog->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&backlog->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

Backlog *backlog_open(const BacklogOptions *options, Error *err)
{
    Backlog *backlog = mem_zalloc(sizeof *backlog);
    PlaceSegment *places;
    size_t count;
    start(backlog);
    backlog->bytes_max = options->bytes_max;
    backlog->segment_bytes =
        options->segment_bytes ? options->segment_bytes : BACKLOG_SEGMENT_BYTES;
    bool ok = place_take(&backlog->place, options->store, options->uri, options->owner, &places,
                         &count, err);
    for (size_t i = 0; i < count; i++)
        (void)segment_add(backlog, &(Segment){.place = places[i]});
    free(places);
    if (!ok || !look(backlog, options->told, err)) {
        backlog_close(backlog);
        return NULL;
    }
    backlog->thread = thread_start("spool", write_on, backlog);
    return backlog;
}

void backlog_close(Backlog *backlog)
{
    if (!backlog)
        return;
    pthread_mutex_lock(&backlog->lock);
    backlog->quits = true;
    pthread_cond_broadcast(&backlog->changed);
    pthread_mutex_unlock(&backlog->lock);
    if (backlog->thread)
        thread_join(backlog->thread);
    pthread_cond_destroy(&backlog->changed);
    pthread_mutex_destroy(&backlog->lock);
    bytes_done(&backlog->gathered);
    bytes_done(&backlog->job.bytes);
    bytes_done(&backlog->buffer);
    place_done(&backlog->place);
    free(backlog->segments);
    free(backlog);
}

/* ---------- releasing ---------- */
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
    bool all_read = backlog->read_segment == backlog->segment_count;
    return count && count == backlog->segment_count && !all_read ? count - 1 : count;
}

bool backlog_release(Backlog *backlog, RowPosition at, Error *err)
{
    size_t count = passed(backlog, at);
    for (size_t i = 0; i < count; i++) {
        const PlaceSegment *place = &backlog->segments[i].place;
        if (!place_remove(&backlog->place, place->number, place->epoch, err))
            return false; /* the next one removes them */
        backlog->bytes -= place->bytes;
    }
    memmove(backlog->segments, backlog->segments + count,
            (backlog->segment_count - count) * sizeof *backlog->segments);
    backlog->segment_count -= count;
    if (backlog->read_segment < count)
        backlog_rewind(backlog);
    else
        backlog->read_segment -= count;
    return true;
}

/* ---------- the note ---------- */
bool backlog_note(Backlog *backlog, const void *data, size_t bytes, Error *err)
{
    return place_note(&backlog->place, data, bytes, err);
}

bool backlog_noted(const Backlog *backlog, uint8_t **ret, size_t *ret_bytes, Error *err)
{
    return place_noted(&backlog->place, ret, ret_bytes, err);
}

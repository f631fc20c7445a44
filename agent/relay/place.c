/* See place.h. */
#include "agent/relay/place.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "common/crash.h"
#include "common/mem.h"
#include "common/reader.h"

#define NAME_BYTES 64u
#define NOTE_MAX ((size_t)256 << 20)
#define OWNER_MAX ((size_t)1024)
#define SUM_BYTES 4u
#define LEFT_BYTES 24u

typedef enum Kind { KIND_CLAIM, KIND_LEFT, KIND_KNOWN, KIND_SEGMENT, KINDS } Kind;

static const char *const endings[KINDS] = {"claim", "left", "known", "spool"};

typedef struct Object {
    Kind kind;
    uint64_t epoch, number, bytes;
} Object;

typedef struct Objects {
    const Place *place;
    Object *items;
    size_t count, held;
    uint64_t latest[KINDS]; /* epochs; 0: none */
} Objects;

/* ---------- names ---------- */
static void name_of(const Object *object, char name[NAME_BYTES])
{
    if (object->kind == KIND_SEGMENT)
        snprintf(name, NAME_BYTES, "%016llx-%016llx.%s", (unsigned long long)object->number,
                 (unsigned long long)object->epoch, endings[KIND_SEGMENT]);
    else
        snprintf(name, NAME_BYTES, "%016llx.%s", (unsigned long long)object->epoch,
                 endings[object->kind]);
}

static char *uri_of(const Place *place, Kind kind, uint64_t epoch, uint64_t number)
{
    char name[NAME_BYTES];
    name_of(&(Object){.kind = kind, .epoch = epoch, .number = number}, name);
    return mem_format("%s/%s", place->uri, name);
}

/* False: not one of ours. */
static bool object_of(const char *name, Object *ret)
{
    char *end, again[NAME_BYTES];
    *ret = (Object){.epoch = strtoull(name, &end, 16)};
    if (*end == '-') {
        ret->number = ret->epoch;
        ret->epoch = strtoull(end + 1, &end, 16);
    }
    if (*end != '.')
        return false;
    for (ret->kind = 0; ret->kind < KINDS && strcmp(endings[ret->kind], end + 1) != 0;)
        ret->kind++;
    if (ret->kind == KINDS)
        return false;
    name_of(ret, again);
    return strcmp(name, again) == 0;
}

/* ---------- errors ---------- */
static bool failed(const Place *place, const char *what, Error *err)
{
    if (err->kind == ERROR_CONFIG && strncmp(place->uri, "file:", 5) == 0)
        snprintf(err->code, sizeof err->code, "SpoolFolder");
    return error_wrap(err, "spec.stream.spool.location %.200s: %s", place->uri, what);
}

static bool taken(const Place *place, Error *err)
{
    return error_set(err, ERROR_RETRY, "SpoolTaken",
                     "spec.stream.spool.location %.200s: another process has taken it; run one "
                     "agent per Connector",
                     place->uri);
}

static bool damaged(const Place *place, const char *what, Error *err)
{
    return error_set(err, ERROR_CONFIG, "SpoolDamaged",
                     "spec.stream.spool.location %.200s: %s: which of its segments count is not "
                     "known; remove them and load the tables again with --resnapshot '*.*'",
                     place->uri, what);
}

/* ---------- small objects under a sum ---------- */
static bool put_summed(const Place *place, Kind kind, const void *data, size_t bytes, Error *err)
{
    AUTO(mem_free) char *uri = uri_of(place, kind, place->epoch, 0);
    Bytes all = {0};
    bytes_put_u32(&all, (uint32_t)crc32_z(0, data, bytes));
    bytes_put(&all, data, bytes);
    bool ok = store_put(place->store, uri, all.data, all.used, err);
    bytes_done(&all);
    return ok || failed(place, endings[kind], err);
}

/* *ret_whole false: it is not there, or not what was written. */
static bool get_summed(const Place *place, Kind kind, uint64_t epoch, Bytes *ret, bool *ret_whole,
                       Error *err)
{
    AUTO(mem_free) char *uri = uri_of(place, kind, epoch, 0);
    uint32_t sum;
    *ret_whole = false;
    if (!store_get(place->store, uri, NOTE_MAX, ret, err))
        return err->kind == ERROR_DATA || failed(place, endings[kind], err);
    if (ret->used < SUM_BYTES)
        return true;
    memcpy(&sum, ret->data, SUM_BYTES);
    *ret_whole = crc32_z(0, ret->data + SUM_BYTES, ret->used - SUM_BYTES) == sum;
    return true;
}

/* ---------- what is there ---------- */
static bool see(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    Objects *objects = context;
    size_t start = strlen(objects->place->uri);
    Object object;
    (void)modified_us;
    if (strncmp(uri, objects->place->uri, start) != 0 || uri[start] != '/' ||
        !object_of(uri + start + 1, &object))
        return true;
    object.bytes = bytes;
    if (objects->count == objects->held) {
        objects->held = objects->held ? objects->held * 2 : 64;
        objects->items = mem_regrow(objects->items, objects->held, sizeof *objects->items);
    }
    objects->items[objects->count++] = object;
    if (object.epoch > objects->latest[object.kind])
        objects->latest[object.kind] = object.epoch;
    return true;
}

static bool look(const Place *place, Objects *ret, Error *err)
{
    AUTO(mem_free) char *prefix = mem_format("%s/", place->uri);
    *ret = (Objects){.place = place};
    return store_list(place->store, prefix, see, ret, err) || failed(place, "list", err);
}

/* Those that `goes` is true of. */
static bool clear(const Place *place, const Objects *objects,
                  bool (*goes)(const void *context, const Object *object), const void *context,
                  Error *err)
{
    for (size_t i = 0; i < objects->count; i++) {
        const Object *object = &objects->items[i];
        if (!goes(context, object))
            continue;
        AUTO(mem_free) char *uri = uri_of(place, object->kind, object->epoch, object->number);
        if (!store_delete(place->store, uri, err))
            return failed(place, "delete", err);
    }
    return true;
}

/* ---------- taking ---------- */
/* Nobody but the Connector that had it takes it. */
static bool check_owner(const Place *place, uint64_t epoch, Error *err)
{
    AUTO(mem_free) char *uri = uri_of(place, KIND_CLAIM, epoch, 0);
    Bytes owner = {0};
    bool ok = store_get(place->store, uri, OWNER_MAX, &owner, err);
    bool same = ok && owner.used == strlen(place->owner) &&
                memcmp(owner.data, place->owner, owner.used) == 0;
    if (!ok)
        ok = strcmp(err->code, "ObjectMissing") == 0 ? taken(place, err)
                                                     : failed(place, "claim", err);
    else if (!same)
        ok = error_set(err, ERROR_CONFIG, "SpoolFolder",
                       "spec.stream.spool.location %.200s is Connector %.*s's: each wants a place "
                       "of its own",
                       place->uri, (int)(owner.used < 200 ? owner.used : 200),
                       owner.used ? (const char *)owner.data : "");
    bytes_done(&owner);
    return ok;
}

static bool is_earlier_claim(const void *context, const Object *object)
{
    const Place *place = context;
    return object->kind == KIND_CLAIM && object->epoch < place->epoch;
}

static bool claim(Place *place, Error *err)
{
    Objects before;
    bool ok = look(place, &before, err);
    uint64_t latest = 0;
    for (size_t i = 0; i < KINDS; i++)
        latest = before.latest[i] > latest ? before.latest[i] : latest;
    place->epoch = latest + 1;
    AUTO(mem_free) char *uri = uri_of(place, KIND_CLAIM, place->epoch, 0);
    ok = ok && (!before.latest[KIND_CLAIM] || check_owner(place, before.latest[KIND_CLAIM], err));
    if (ok && !store_put_new(place->store, uri, place->owner, strlen(place->owner), err))
        ok = err->kind == ERROR_CONFLICT ? taken(place, err) : failed(place, "claim", err);
    ok = ok && clear(place, &before, is_earlier_claim, place, err);
    free(before.items);
    if (ok)
        CRASH_POINT("relay-spool-claimed");
    return ok;
}

/* What the latest epoch that has begun to write had of earlier ones, into the objects' segments;
 * the others of those do not count. */
static bool take_left(const Place *place, uint64_t epoch, const Objects *objects,
                      PlaceSegment *segments, size_t *count, Error *err)
{
    Bytes left = {0};
    bool whole, ok = get_summed(place, KIND_LEFT, epoch, &left, &whole, err);
    if (ok && (!whole || (left.used - SUM_BYTES) % LEFT_BYTES))
        ok = damaged(place, "a list of segments is not what was written", err);
    Reader in = reader_over(left.data + (ok ? SUM_BYTES : 0), ok ? left.used - SUM_BYTES : 0);
    PlaceSegment each = {0};
    while (ok && reader_left(&in) && reader_u64(&in, &each.number) &&
           reader_u64(&in, &each.epoch) && reader_u64(&in, &each.end))
        for (size_t i = 0; i < objects->count; i++) {
            const Object *object = &objects->items[i];
            if (object->kind != KIND_SEGMENT || object->number != each.number ||
                object->epoch != each.epoch)
                continue;
            each.bytes = object->bytes;
            segments[(*count)++] = each;
            break;
        }
    bytes_done(&left);
    return ok;
}

static int by_number(const void *a, const void *b)
{
    const PlaceSegment *left = a, *right = b;
    return left->number < right->number ? -1 : left->number > right->number;
}

void place_done(Place *place)
{
    free(place->uri);
    free(place->owner);
    *place = (Place){0};
}

bool place_take(Place *place, Store *store, const char *uri, const char *owner, PlaceSegment **ret,
                size_t *ret_count, Error *err)
{
    Objects objects = {0};
    *place = (Place){.store = store, .uri = mem_strdup(uri), .owner = mem_strdup(owner)};
    *ret = NULL;
    *ret_count = 0;
    if (!claim(place, err) || !look(place, &objects, err)) {
        free(objects.items);
        return false;
    }
    PlaceSegment *segments = mem_array(objects.count + 1, sizeof *segments);
    size_t count = 0;
    uint64_t latest = objects.latest[KIND_LEFT];
    bool ok = !latest || take_left(place, latest, &objects, segments, &count, err);
    for (size_t i = 0; ok && i < objects.count; i++) {
        const Object *object = &objects.items[i];
        if (object->kind != KIND_SEGMENT || object->epoch != latest)
            continue;
        segments[count++] =
            (PlaceSegment){.number = object->number, .epoch = latest, .bytes = object->bytes};
    }
    if (ok && !latest && objects.latest[KIND_SEGMENT])
        ok = damaged(place, "there is no list of segments", err);
    qsort(segments, count, sizeof *segments, by_number);
    place->known = objects.latest[KIND_KNOWN];
    free(objects.items);
    *ret = segments;
    *ret_count = count;
    return ok;
}

/* ---------- what counts ---------- */
typedef struct Counting {
    const Place *place;
    const PlaceSegment *segments;
    size_t count;
} Counting;

static bool counts_no_more(const void *context, const Object *object)
{
    const Counting *counting = context;
    const PlaceSegment sought = {.number = object->number};
    if (object->epoch >= counting->place->epoch || object->kind == KIND_CLAIM)
        return false; /* a younger one's, or gone */
    if (object->kind != KIND_SEGMENT)
        return object->kind == KIND_LEFT || object->epoch != counting->place->known;
    const PlaceSegment *found = counting->count
                                    ? bsearch(&sought, counting->segments, counting->count,
                                              sizeof *counting->segments, by_number)
                                    : NULL;
    return !found || found->epoch != object->epoch;
}

bool place_leave(Place *place, const PlaceSegment *segments, size_t count, Error *err)
{
    Bytes left = {0};
    Objects objects = {0};
    const Counting counting = {place, segments, count};
    for (size_t i = 0; i < count; i++) {
        bytes_put_u64(&left, segments[i].number);
        bytes_put_u64(&left, segments[i].epoch);
        bytes_put_u64(&left, segments[i].end);
    }
    bool ok = put_summed(place, KIND_LEFT, left.data, left.used, err);
    bytes_done(&left);
    /* ours no more: what is there is another one's to clear */
    ok = ok && place_is_ours(place, err) && look(place, &objects, err) &&
         clear(place, &objects, counts_no_more, &counting, err);
    free(objects.items);
    return ok;
}

bool place_is_ours(const Place *place, Error *err)
{
    AUTO(mem_free) char *uri = uri_of(place, KIND_CLAIM, place->epoch, 0);
    bool there;
    if (!store_exists(place->store, uri, &there, err))
        return failed(place, "claim", err);
    return there || taken(place, err);
}

/* ---------- segments ---------- */
bool place_write(const Place *place, uint64_t number, const void *data, size_t bytes, Error *err)
{
    AUTO(mem_free) char *uri = uri_of(place, KIND_SEGMENT, place->epoch, number);
    if (!store_put(place->store, uri, data, bytes, err))
        return failed(place, "write", err);
    CRASH_POINT("relay-spool-written");
    return place_is_ours(place, err);
}

bool place_read(const Place *place, const PlaceSegment *segment, Bytes *ret, Error *err)
{
    AUTO(mem_free)
    char *uri = uri_of(place, KIND_SEGMENT, segment->epoch, segment->number);
    return store_get(place->store, uri, segment->bytes, ret, err) || failed(place, "read", err);
}

bool place_remove(const Place *place, uint64_t number, uint64_t epoch, Error *err)
{
    AUTO(mem_free) char *uri = uri_of(place, KIND_SEGMENT, epoch, number);
    return store_delete(place->store, uri, err) || failed(place, "delete", err);
}

/* ---------- the note ---------- */
bool place_note(Place *place, const void *data, size_t bytes, Error *err)
{
    if (!put_summed(place, KIND_KNOWN, data, bytes, err))
        return false;
    if (!place->known)
        return true;
    AUTO(mem_free) char *earlier = uri_of(place, KIND_KNOWN, place->known, 0);
    place->known = 0;
    return store_delete(place->store, earlier, err) || failed(place, "delete", err);
}

bool place_noted(const Place *place, uint8_t **ret, size_t *ret_bytes, Error *err)
{
    Bytes note = {0};
    bool whole;
    *ret = NULL;
    if (!place->known)
        return true;
    bool ok = get_summed(place, KIND_KNOWN, place->known, &note, &whole, err);
    if (ok && whole) {
        *ret_bytes = note.used - SUM_BYTES;
        *ret = mem_alloc(*ret_bytes + 1);
        memcpy(*ret, note.data + SUM_BYTES, *ret_bytes);
    }
    bytes_done(&note);
    return ok;
}

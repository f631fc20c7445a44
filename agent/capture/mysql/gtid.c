/* GTID sets: see gtid.h. */
#include "agent/capture/mysql/gtid.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/mem.h"

void gtid_set_done(GtidSet *set)
{
    for (size_t i = 0; i < set->count; i++)
        free(set->sources[i].intervals);
    free(set->sources);
    *set = (GtidSet){.mariadb = set->mariadb};
}

GtidSet gtid_set_new(bool mariadb)
{
    return (GtidSet){.mariadb = mariadb};
}

/* --- finding --- */

static int source_compare(const Gtid *a, const Gtid *b)
{
    if (a->mariadb)
        return a->domain == b->domain ? 0 : a->domain < b->domain ? -1 : 1;
    int order = memcmp(a->uuid, b->uuid, sizeof a->uuid);
    return order ? order : strcmp(a->tag, b->tag);
}

/* The place of the source, or where it belongs. */
static size_t source_at(const GtidSet *set, const Gtid *gtid)
{
    size_t from = 0, to = set->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (source_compare(&set->sources[middle].id, gtid) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool is_there(const GtidSet *set, size_t at, const Gtid *gtid)
{
    return at < set->count && source_compare(&set->sources[at].id, gtid) == 0;
}

/* The first interval that ends at `number` or behind it. */
static size_t interval_at(const GtidSource *source, uint64_t number)
{
    size_t from = 0, to = source->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (source->intervals[middle].to < number)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool source_has(const GtidSource *source, GtidInterval wanted)
{
    size_t at = interval_at(source, wanted.from);
    return at < source->count && source->intervals[at].from <= wanted.from &&
           source->intervals[at].to >= wanted.to;
}

bool gtid_set_has(const GtidSet *set, const Gtid *gtid)
{
    ASSERT(gtid->mariadb == set->mariadb);
    size_t at = source_at(set, gtid);
    if (!is_there(set, at, gtid))
        return false;
    const Gtid *latest = &set->sources[at].id;
    if (set->mariadb) /* of two servers that both gave the latest number, one's is another's */
        return gtid->number < latest->number ||
               (gtid->number == latest->number && gtid->server == latest->server);
    return source_has(&set->sources[at], (GtidInterval){gtid->number, gtid->number});
}

bool gtid_set_contains(const GtidSet *set, const GtidSet *part)
{
    ASSERT(set->mariadb == part->mariadb);
    for (size_t i = 0; i < part->count; i++) {
        const GtidSource *wanted = &part->sources[i];
        if (set->mariadb) {
            if (!gtid_set_has(set, &wanted->id))
                return false;
            continue;
        }
        size_t at = source_at(set, &wanted->id);
        if (!is_there(set, at, &wanted->id))
            return false;
        for (size_t j = 0; j < wanted->count; j++)
            if (!source_has(&set->sources[at], wanted->intervals[j]))
                return false;
    }
    return true;
}

bool gtid_set_equal(const GtidSet *a, const GtidSet *b)
{
    return gtid_set_contains(a, b) && gtid_set_contains(b, a);
}

/* --- adding --- */

static GtidSource *source_of(GtidSet *set, const Gtid *gtid)
{
    ASSERT(gtid->mariadb == set->mariadb);
    size_t at = source_at(set, gtid);
    if (is_there(set, at, gtid))
        return &set->sources[at];
    if (set->count == set->held) {
        set->held = set->held ? set->held * 2 : 4;
        set->sources = mem_regrow(set->sources, set->held, sizeof *set->sources);
    }
    memmove(set->sources + at + 1, set->sources + at, (set->count - at) * sizeof *set->sources);
    set->count++;
    set->sources[at] = (GtidSource){.id = *gtid};
    set->sources[at].id.number = 0;
    return &set->sources[at];
}

static void add_interval(GtidSource *source, GtidInterval added)
{
    /* first … last: those that the new one overlaps or touches */
    size_t first = interval_at(source, added.from ? added.from - 1 : 0), last = first;
    while (last < source->count && source->intervals[last].from <= added.to + 1) {
        if (source->intervals[last].from < added.from)
            added.from = source->intervals[last].from;
        if (source->intervals[last].to > added.to)
            added.to = source->intervals[last].to;
        last++;
    }
    if (first == last && source->count == source->held) {
        source->held = source->held ? source->held * 2 : 4;
        source->intervals = mem_regrow(source->intervals, source->held, sizeof *source->intervals);
    }
    memmove(source->intervals + first + 1, source->intervals + last,
            (source->count - last) * sizeof *source->intervals);
    source->count = source->count - (last - first) + 1;
    source->intervals[first] = added;
}

void gtid_set_add_interval(GtidSet *set, const Gtid *source, GtidInterval interval)
{
    ASSERT(!set->mariadb && interval.from >= 1 && interval.from <= interval.to &&
           interval.to <= GTID_NUMBER_MAX);
    add_interval(source_of(set, source), interval);
}

bool gtid_set_add(GtidSet *set, const Gtid *gtid)
{
    if (gtid_set_has(set, gtid))
        return false;
    if (set->mariadb)
        source_of(set, gtid)->id = *gtid;
    else
        gtid_set_add_interval(set, gtid, (GtidInterval){gtid->number, gtid->number});
    return true;
}

void gtid_set_join(GtidSet *set, const GtidSet *more)
{
    for (size_t i = 0; i < more->count; i++) {
        const GtidSource *source = &more->sources[i];
        if (set->mariadb)
            (void)gtid_set_add(set, &source->id);
        for (size_t k = 0; k < source->count; k++)
            gtid_set_add_interval(set, &source->id, source->intervals[k]);
    }
}

GtidSet gtid_set_copy(const GtidSet *set)
{
    GtidSet copy = {.mariadb = set->mariadb, .count = set->count, .held = set->count};
    copy.sources = mem_array(set->count, sizeof *copy.sources);
    for (size_t i = 0; i < set->count; i++) {
        const GtidSource *from = &set->sources[i];
        copy.sources[i] = (GtidSource){.id = from->id, .count = from->count, .held = from->count};
        copy.sources[i].intervals = mem_array(from->count, sizeof *from->intervals);
        if (from->count)
            memcpy(copy.sources[i].intervals, from->intervals,
                   from->count * sizeof *from->intervals);
    }
    return copy;
}

/* --- text --- */

static bool bad(const char *text, Error *err)
{
    return error_set(err, ERROR_DATA, "BadGtid", "'%.200s' is no set of GTIDs", text);
}

static void skip_blanks(const char **at)
{
    while (isspace((unsigned char)**at))
        (*at)++;
}

static bool read_number(const char **at, uint64_t max, uint64_t *ret)
{
    skip_blanks(at);
    const char *from = *at;
    uint64_t value = 0;
    while (**at >= '0' && **at <= '9') {
        uint64_t digit = (uint64_t)(**at - '0');
        if (value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
        (*at)++;
    }
    *ret = value;
    return *at > from;
}

static bool read_uuid(const char **at, uint8_t ret[16])
{
    skip_blanks(at);
    for (size_t i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *(*at)++ != '-')
            return false;
        unsigned byte;
        if (!isxdigit((unsigned char)(*at)[0]) || !isxdigit((unsigned char)(*at)[1]) ||
            sscanf(*at, "%2x", &byte) != 1)
            return false;
        ret[i] = (uint8_t)byte;
        *at += 2;
    }
    return true;
}

bool gtid_set_tag(Gtid *gtid, const void *tag, size_t bytes)
{
    const unsigned char *at = tag;
    if (bytes >= GTID_TAG_BYTES || (bytes && isdigit(at[0])))
        return false;
    for (size_t i = 0; i < bytes; i++) {
        if (at[i] >= 0x80 || (!isalnum(at[i]) && at[i] != '_'))
            return false;
        gtid->tag[i] = (char)tolower(at[i]);
    }
    memset(gtid->tag + bytes, 0, sizeof gtid->tag - bytes);
    return true;
}

/* ":1-7:tag:3": a tag holds for the intervals behind it. */
static bool read_intervals(const char **at, Gtid *source, GtidSet *set)
{
    do {
        (*at)++;
        skip_blanks(at);
        if (isalpha((unsigned char)**at) || **at == '_') {
            size_t bytes =
                strspn(*at, "abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
            if (!gtid_set_tag(source, *at, bytes))
                return false;
            *at += bytes;
            skip_blanks(at);
            continue;
        }
        GtidInterval interval;
        if (!read_number(at, GTID_NUMBER_MAX, &interval.from))
            return false;
        interval.to = interval.from;
        skip_blanks(at);
        if (**at == '-') {
            (*at)++;
            if (!read_number(at, GTID_NUMBER_MAX, &interval.to))
                return false;
        }
        if (interval.from == 0 || interval.to < interval.from)
            return false;
        gtid_set_add_interval(set, source, interval);
        skip_blanks(at);
    } while (**at == ':');
    return true;
}

static bool read_mysql(const char **at, GtidSet *set)
{
    Gtid source = {0};
    if (!read_uuid(at, source.uuid))
        return false;
    skip_blanks(at);
    return **at == ':' && read_intervals(at, &source, set);
}

static bool read_mariadb(const char **at, GtidSet *set)
{
    uint64_t domain, server;
    Gtid gtid = {.mariadb = true};
    if (!read_number(at, UINT32_MAX, &domain) || *(*at)++ != '-' ||
        !read_number(at, UINT32_MAX, &server) || *(*at)++ != '-' ||
        !read_number(at, UINT64_MAX, &gtid.number))
        return false;
    gtid.domain = (uint32_t)domain;
    gtid.server = (uint32_t)server;
    gtid_set_add(set, &gtid);
    return true;
}

bool gtid_set_parse(const char *text, bool mariadb, GtidSet *ret, Error *err)
{
    *ret = gtid_set_new(mariadb);
    const char *at = text;
    skip_blanks(&at);
    while (*at) {
        if (!(mariadb ? read_mariadb(&at, ret) : read_mysql(&at, ret)))
            return bad(text, err);
        skip_blanks(&at);
        if (*at == ',')
            at++;
        else if (*at)
            return bad(text, err);
        skip_blanks(&at); /* a server puts a line's end behind the comma */
    }
    return true;
}

/* Without NUL; there is room. */
static int put_uuid(char *to, const uint8_t uuid[16])
{
    static const char digits[] = "0123456789abcdef";
    char *at = to;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[uuid[i] >> 4];
        *at++ = digits[uuid[i] & 15];
    }
    return (int)(at - to);
}

char *gtid_format(const Gtid *gtid, char ret[GTID_TEXT_BYTES])
{
    if (gtid->mariadb) {
        snprintf(ret, GTID_TEXT_BYTES, "%" PRIu32 "-%" PRIu32 "-%" PRIu64, gtid->domain,
                 gtid->server, gtid->number);
        return ret;
    }
    int used = put_uuid(ret, gtid->uuid);
    snprintf(ret + used, GTID_TEXT_BYTES - (size_t)used, "%s%s:%" PRIu64, *gtid->tag ? ":" : "",
             gtid->tag, gtid->number);
    return ret;
}

/* Behind a source of the same uuid only the tag is new. */
static void put_source(Bytes *to, const GtidSource *source, bool same_uuid)
{
    char text[GTID_TEXT_BYTES];
    int used = 0;
    if (!same_uuid) {
        used = put_uuid(text, source->id.uuid);
        bytes_put(to, text, (size_t)used);
    }
    if (*source->id.tag) {
        bytes_put_u8(to, ':');
        bytes_put(to, source->id.tag, strlen(source->id.tag));
    }
    for (size_t i = 0; i < source->count; i++) {
        GtidInterval interval = source->intervals[i];
        used =
            interval.from == interval.to
                ? snprintf(text, sizeof text, ":%" PRIu64, interval.from)
                : snprintf(text, sizeof text, ":%" PRIu64 "-%" PRIu64, interval.from, interval.to);
        bytes_put(to, text, (size_t)used);
    }
}

char *gtid_set_format(const GtidSet *set)
{
    Bytes to = {0};
    for (size_t i = 0; i < set->count; i++) {
        const GtidSource *source = &set->sources[i];
        bool same_uuid = !set->mariadb && i &&
                         memcmp(source[-1].id.uuid, source->id.uuid, sizeof source->id.uuid) == 0;
        if (i && !same_uuid)
            bytes_put_u8(&to, ',');
        char text[GTID_TEXT_BYTES];
        if (!set->mariadb) {
            put_source(&to, source, same_uuid);
            continue;
        }
        gtid_format(&source->id, text);
        bytes_put(&to, text, strlen(text));
    }
    bytes_put_u8(&to, 0);
    return (char *)to.data;
}

#include "agent/record/extents.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/mem.h"

void extents_done(Extents *extents)
{
    free(extents->items);
    *extents = (Extents){0};
}

static void remove_at(Extents *extents, size_t at, size_t count)
{
    if (!count) /* there may be none at all */
        return;
    memmove(&extents->items[at], &extents->items[at + count],
            (extents->count - at - count) * sizeof *extents->items);
    extents->count -= count;
}

/* The first item of the part that ends at or behind `to`, or where it would stand. */
static size_t first_of(const Extents *extents, uint64_t part, uint64_t to)
{
    size_t low = 0, high = extents->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const Extent *item = &extents->items[middle];
        if (item->part < part || (item->part == part && item->to < to))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_at(const Extents *extents, size_t at, uint64_t part)
{
    return at < extents->count && extents->items[at].part == part;
}

void extents_add(Extents *extents, Extent extent)
{
    ASSERT(extent.version && extent.from < extent.to);
    size_t at = first_of(extents, extent.part, 0);
    if (is_at(extents, at, extent.part) && extents->items[at].version != extent.version) {
        size_t end = at;
        while (is_at(extents, end, extent.part))
            end++;
        remove_at(extents, at, end - at);
    }
    at = first_of(extents, extent.part, extent.from);
    size_t end = at;
    for (; is_at(extents, end, extent.part) && extents->items[end].from <= extent.to; end++) {
        if (extents->items[end].from < extent.from)
            extent.from = extents->items[end].from;
        if (extents->items[end].to > extent.to)
            extent.to = extents->items[end].to;
    }
    remove_at(extents, at, end - at);
    if (extents->count == extents->held) {
        extents->held = extents->held ? extents->held * 2 : 16;
        extents->items = mem_regrow(extents->items, extents->held, sizeof *extents->items);
    }
    memmove(&extents->items[at + 1], &extents->items[at],
            (extents->count - at) * sizeof *extents->items);
    extents->items[at] = extent;
    extents->count++;
}

bool extents_gap(const Extents *extents, uint64_t part, uint64_t version, uint64_t from,
                 Extent *ret)
{
    size_t at = first_of(extents, part, 0);
    bool same = is_at(extents, at, part) &&
                (extents->items[at].version == version ||
                 (extents->items[at].from == 0 && extents->items[at].to == EXTENTS_END));
    *ret = (Extent){part, version, from, EXTENTS_END};
    for (; same && is_at(extents, at, part); at++) {
        const Extent *done = &extents->items[at];
        if (done->from > ret->from) {
            ret->to = done->from;
            return true;
        }
        if (done->to > ret->from)
            ret->from = done->to;
    }
    return ret->from < EXTENTS_END;
}

/* One part with all its stretches; false: it doesn't fit. */
static bool put_part(const Extents *extents, size_t from, size_t to, Bytes *text)
{
    size_t before = text->used;
    for (size_t i = from; i < to; i++) {
        const Extent *each = &extents->items[i];
        char stretch[96], end[24] = "";
        if (each->to != EXTENTS_END)
            snprintf(end, sizeof end, "%" PRIu64, each->to);
        int used = i == from ? snprintf(stretch, sizeof stretch, " %" PRIu64 ".%" PRIu64 ":",
                                        each->part, each->version)
                             : snprintf(stretch, sizeof stretch, ",");
        snprintf(stretch + used, sizeof stretch - (size_t)used, "%" PRIu64 "-%s", each->from, end);
        bytes_put(text, stretch, strlen(stretch));
    }
    if (text->used < EXTENTS_TEXT_MAX)
        return true;
    text->used = before;
    return false;
}

char *extents_format(const Extents *extents)
{
    Bytes text = {0};
    char until[32];
    snprintf(until, sizeof until, "until=%" PRIX64, extents->until);
    bytes_put(&text, until, strlen(until));
    for (size_t i = 0, next; i < extents->count; i = next) {
        for (next = i; is_at(extents, next, extents->items[i].part);)
            next++;
        if (!put_part(extents, i, next, &text))
            continue; /* a smaller one may fit */
    }
    char *copy = mem_format("%.*s", (int)text.used, (const char *)text.data);
    bytes_done(&text);
    return copy;
}

static bool number(const char **at, int base, uint64_t *ret)
{
    char *end;
    if (!strchr("0123456789ABCDEF", **at) || !**at)
        return false;
    errno = 0;
    *ret = strtoull(*at, &end, base);
    bool ok = end != *at && errno == 0;
    *at = end;
    return ok;
}

static bool sign(const char **at, char wanted)
{
    bool ok = **at == wanted;
    *at += ok;
    return ok;
}

static bool parse_part(const char **at, Extents *ret)
{
    Extent extent;
    if (!number(at, 10, &extent.part) || !sign(at, '.') || !number(at, 10, &extent.version) ||
        !extent.version || !sign(at, ':'))
        return false;
    do {
        if (!number(at, 10, &extent.from) || !sign(at, '-'))
            return false;
        extent.to = EXTENTS_END;
        if (**at && **at != ' ' && !number(at, 10, &extent.to))
            return false;
        if (extent.from >= extent.to)
            return false;
        extents_add(ret, extent);
    } while (sign(at, ','));
    return true;
}

bool extents_parse(const char *text, Extents *ret, Error *err)
{
    static const char head[] = "until=";
    const char *at = text + strlen(head);
    *ret = (Extents){0};
    bool ok = strncmp(text, head, strlen(head)) == 0 && number(&at, 16, &ret->until);
    while (ok && *at)
        ok = sign(&at, ' ') && parse_part(&at, ret);
    return ok || error_set(err, ERROR_DATA, "BadExtents",
                           "'%.100s' does not say what of a copy is done", text);
}

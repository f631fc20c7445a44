/* See xa.h. */
#include "agent/capture/mysql/xa.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

#define PART_BYTES 64
#define PREPARED_MAX 100000

static char *put_part(char *to, const uint8_t *part, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    *to++ = 'X';
    *to++ = '\'';
    for (size_t i = 0; i < bytes; i++) {
        *to++ = digits[part[i] >> 4];
        *to++ = digits[part[i] & 15];
    }
    *to++ = '\'';
    *to++ = ',';
    return to;
}

bool xid_of_event(const BinlogEvent *event, char ret[XID_TEXT_BYTES], bool *ret_one_phase,
                  Error *err)
{
    Reader in = event->content;
    uint8_t one_phase;
    uint64_t format, first, second;
    const uint8_t *parts;
    if (!reader_u8(&in, &one_phase) || !reader_le(&in, 4, &format) || !reader_le(&in, 4, &first) ||
        !reader_le(&in, 4, &second) || first > PART_BYTES || second > PART_BYTES ||
        !reader_take(&in, first + second, &parts))
        return binlog_bad(event, "it names no transaction", err);
    char *end = put_part(put_part(ret, parts, first), parts + first, second);
    snprintf(end, (size_t)(ret + XID_TEXT_BYTES - end), "%" PRIu64, format);
    *ret_one_phase = one_phase;
    return true;
}

bool xid_of_query(const char *text, size_t bytes, char ret[XID_TEXT_BYTES])
{
    const char *from = memmem(text, bytes, "X'", 2);
    size_t used = 0;
    if (!from)
        return false;
    for (; from + used < text + bytes && used + 1 < XID_TEXT_BYTES; used++) {
        char each = from[used];
        if (each == ' ' || each == ';')
            break;
        ret[used] = each >= 'A' && each <= 'F' ? (char)(each + 'a' - 'A') : each;
    }
    ret[used] = '\0';
    return used > 7; /* X'',X'',1 is longer */
}

void prepared_done(PreparedList *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].xid);
    free(list->items);
    *list = (PreparedList){0};
}

bool prepared_put(PreparedList *list, const char *xid, uint64_t place, Error *err)
{
    if (list->count == PREPARED_MAX)
        return error_set(err, ERROR_CONFIG, "UnsupportedEvent",
                         "the binlog has more than %d transactions of XA that are prepared, and "
                         "neither committed nor rolled back; see XA RECOVER",
                         PREPARED_MAX);
    if (list->count == list->held) {
        list->held = list->held ? list->held * 2 : 16;
        list->items = mem_regrow(list->items, list->held, sizeof *list->items);
    }
    list->items[list->count++] = (Prepared){mem_strdup(xid), place};
    return true;
}

/* Names are used again: the latest counts. */
bool prepared_take(PreparedList *list, const char *xid, uint64_t *ret_place)
{
    for (size_t i = list->count; i > 0; i--) {
        Prepared *each = &list->items[i - 1];
        if (strcmp(each->xid, xid) != 0)
            continue;
        *ret_place = each->place;
        free(each->xid);
        *each = list->items[--list->count];
        return true;
    }
    return false;
}

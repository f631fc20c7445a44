#include "agent/ingest/control.h"

#include "common/mem.h"
#include "common/reader.h"

#define VERSION 1

void control_done(Control *control)
{
    free(control->lanes);
    *control = (Control){0};
}

/* --- out --- */
static void put_position(Bytes *to, RowPosition at)
{
    bytes_put_varint(to, at.major);
    bytes_put_varint(to, at.minor);
}

static void put_value(Bytes *to, LaneValue value)
{
    bytes_put_varint(to, value.next);
    put_position(to, value.passed);
}

static void put_head(Bytes *to, char kind, uint64_t sender)
{
    bytes_put_u8(to, VERSION);
    bytes_put_u8(to, (uint8_t)kind);
    bytes_put_u64(to, sender);
}

void control_put_announcement(Bytes *to, uint64_t sender, const Announcement *announcement)
{
    size_t source = strlen(announcement->source);
    put_head(to, 'A', sender);
    bytes_put_varint(to, announcement->generation);
    bytes_put_varint(to, announcement->serial);
    bytes_put_u8(to, announcement->asks);
    bytes_put_varint(to, source);
    bytes_put(to, announcement->source, source);
    bytes_put_varint(to, announcement->lane_count);
    for (uint32_t i = 0; i < announcement->lane_count; i++)
        put_value(to, announcement->lanes[i]);
}

static void put_piece(Bytes *to, const Piece *piece)
{
    bytes_put_u64(to, piece->id.worker);
    bytes_put_varint(to, piece->id.number);
    bytes_put_varint(to, piece->rows);
    put_value(to, piece->from);
    put_value(to, piece->to);
    bytes_put_varint(to, piece->barrier.kind);
    if (!piece->barrier.kind)
        return;
    bytes_put_varint(to, piece->barrier.lanes);
    put_position(to, piece->barrier.at);
}

void control_put_report(Bytes *to, uint64_t sender, const Report *report)
{
    ASSERT(report->count <= GROUP_CHAIN_MAX);
    put_head(to, 'R', sender);
    bytes_put_varint(to, report->generation);
    bytes_put_varint(to, report->serial);
    bytes_put_varint(to, report->lane);
    bytes_put_varint(to, report->refused);
    bytes_put_varint(to, report->count);
    for (uint32_t i = 0; i < report->count; i++)
        put_piece(to, &report->pieces[i]);
}

/* --- in --- */
static bool take_number(Reader *in, uint64_t most, uint32_t *ret)
{
    uint64_t value;
    if (!reader_varint(in, &value) || value > most)
        return false;
    *ret = (uint32_t)value;
    return true;
}

static bool take_position(Reader *in, RowPosition *ret)
{
    return reader_varint(in, &ret->major) && reader_varint(in, &ret->minor);
}

static bool take_value(Reader *in, LaneValue *ret)
{
    return reader_varint(in, &ret->next) && take_position(in, &ret->passed);
}

static bool take_announcement(Reader *in, Control *ret)
{
    Announcement *to = &ret->announcement;
    uint8_t asks;
    uint32_t source, count;
    const uint8_t *text;
    *to = (Announcement){.source = ret->source};
    if (!reader_varint(in, &to->generation) || !reader_varint(in, &to->serial) ||
        !reader_u8(in, &asks) || asks > 1 || !take_number(in, POSITION_SOURCE_BYTES - 1, &source) ||
        !reader_take(in, source, &text) || memchr(text, 0, source) ||
        !take_number(in, GROUP_LANES_MAX, &count))
        return false;
    to->asks = asks;
    memcpy(ret->source, text, source);
    ret->source[source] = '\0';
    if (count > ret->lanes_held) {
        ret->lanes_held = count;
        ret->lanes = mem_regrow(ret->lanes, count, sizeof *ret->lanes);
    }
    for (uint32_t i = 0; i < count; i++)
        if (!take_value(in, &ret->lanes[i]))
            return false;
    to->lane_count = count;
    to->lanes = ret->lanes;
    return true;
}

static bool take_piece(Reader *in, Piece *ret)
{
    uint32_t kind;
    *ret = (Piece){.rows = 0};
    if (!reader_u64(in, &ret->id.worker) || !reader_varint(in, &ret->id.number) ||
        !reader_varint(in, &ret->rows) || !take_value(in, &ret->from) ||
        !take_value(in, &ret->to) || !take_number(in, BARRIER_LANES_ADDED, &kind))
        return false;
    ret->barrier.kind = (BarrierKind)kind;
    if (!kind)
        return true;
    return take_number(in, GROUP_LANES_MAX, &ret->barrier.lanes) &&
           take_position(in, &ret->barrier.at);
}

static bool take_report(Reader *in, Report *ret)
{
    uint32_t refused;
    *ret = (Report){.lane = 0};
    if (!reader_varint(in, &ret->generation) || !reader_varint(in, &ret->serial) ||
        !take_number(in, GROUP_LANES_MAX - 1, &ret->lane) ||
        !take_number(in, STALL_REASONS - 1, &refused) ||
        !take_number(in, GROUP_CHAIN_MAX, &ret->count))
        return false;
    ret->refused = (StallReason)refused;
    for (uint32_t i = 0; i < ret->count; i++)
        if (!take_piece(in, &ret->pieces[i]))
            return false;
    return true;
}

void control_take(const void *from, size_t bytes, Control *ret)
{
    Reader in = reader_over(from, bytes);
    uint8_t version, kind;
    ret->kind = CONTROL_NONE;
    if (!reader_u8(&in, &version) || version != VERSION || !reader_u8(&in, &kind) ||
        !reader_u64(&in, &ret->sender))
        return;
    bool is_report = kind == 'R';
    if (!is_report && kind != 'A')
        return;
    if ((is_report ? take_report(&in, &ret->report) : take_announcement(&in, ret)) &&
        !reader_left(&in))
        ret->kind = is_report ? CONTROL_REPORT : CONTROL_ANNOUNCEMENT;
}

/* Protobuf's wire format → columns. https://protobuf.dev/programming-guides/encoding/
 *
 * Fields may come in any order, more than once, and in pieces: of a value the last one counts, a
 * message's pieces are one behind the other, a list goes on. So a message is walked twice: first
 * each field's places are noted (ProtoSlot), then each column gets its value. What a schema does
 * not have is passed over; what has another coding than the schema says is no record of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/event/decode.h"
#include "common/mem.h"
#include "common/text.h"

#define CUT "is cut short, or no Protobuf of its schema"
#define GROUPS_MAX 64
#define VALUES_MAX (1u << 22) /* of one record: what leaves out thousands of fields is small */
#define SPOTS_MAX (1u << 20)  /* … noted at a time */
#define SPOTS_KEPT (1u << 14)
#define NANOS INT64_C(1000000000)

enum { TYPE_VARINT = 0, TYPE_64 = 1, TYPE_SPAN = 2, TYPE_GROUP = 3, TYPE_END = 4, TYPE_32 = 5 };

static bool cut(Decode *decode)
{
    return decode_bad(decode, CUT);
}

/* ---------- places ---------- */
static ProtoSpot *spot_at(const Decode *decode, uint32_t number)
{
    return &decode->spots[number - 1];
}

/* 0: there are too many. */
static uint32_t add_spot(Decode *decode, ProtoSpot spot)
{
    if (UNLIKELY(decode->spot_count == SPOTS_MAX)) {
        (void)decode_bad(decode, "has too many values");
        return 0;
    }
    if (decode->spot_count == decode->spots_held) {
        decode->spots_held = decode->spots_held ? 2 * decode->spots_held : 64;
        decode->spots = mem_regrow(decode->spots, decode->spots_held, sizeof *decode->spots);
    }
    decode->spots[decode->spot_count] = spot;
    return ++decode->spot_count;
}

static uint32_t add_slots(Decode *decode, uint32_t count)
{
    uint32_t first = decode->slot_count;
    decode->slot_count += count;
    if (decode->slot_count > decode->slots_held) {
        decode->slots_held = 2 * decode->slot_count;
        decode->slots = mem_regrow(decode->slots, decode->slots_held, sizeof *decode->slots);
    }
    memset(decode->slots + first, 0, count * sizeof *decode->slots);
    return first;
}

/* The message's field of that number; `guess`: the one behind the latest. */
static const WireType *find_field(const WireType *wire, uint32_t number, uint32_t *guess)
{
    uint32_t low = 0, high = wire->child_count;
    if (*guess < high && wire->children[wire->proto.order[*guess]].proto.number == number)
        return &wire->children[wire->proto.order[(*guess)++]];
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const WireType *child = &wire->children[wire->proto.order[middle]];
        if (child->proto.number == number) {
            *guess = middle + 1;
            return child;
        }
        if (child->proto.number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool take_payload(Decode *decode, Reader *in, unsigned type, ProtoSpot *ret)
{
    uint32_t word;
    uint64_t bytes;
    ret->type = (uint8_t)type;
    switch (type) {
    case TYPE_VARINT:
        return reader_varint(in, &ret->value) || cut(decode);
    case TYPE_64:
        return reader_u64(in, &ret->value) || cut(decode);
    case TYPE_32:
        ret->value = 0;
        if (!reader_u32(in, &word))
            return cut(decode);
        ret->value = word;
        return true;
    case TYPE_SPAN:
        if (!reader_varint(in, &bytes) || !reader_take(in, bytes, &ret->at))
            return cut(decode);
        ret->value = bytes;
        return true;
    default:
        return cut(decode);
    }
}

static bool take_tag(Decode *decode, Reader *in, uint32_t *ret_number, unsigned *ret_type)
{
    uint64_t tag;
    if (!reader_varint(in, &tag) || tag > UINT32_MAX || !(tag >> 3))
        return cut(decode);
    *ret_number = (uint32_t)(tag >> 3);
    *ret_type = (unsigned)(tag & 7);
    return true;
}

/* To the end of a group that nobody knows; groups in it, too. */
static bool skip_group(Decode *decode, Reader *in, uint32_t number)
{
    uint32_t open[GROUPS_MAX] = {number};
    unsigned type, depth = 1;
    ProtoSpot unused;
    while (depth) {
        if (!take_tag(decode, in, &number, &type))
            return false;
        if (type == TYPE_GROUP) {
            if (depth == GROUPS_MAX)
                return cut(decode);
            open[depth++] = number;
        } else if (type == TYPE_END) {
            if (open[--depth] != number)
                return cut(decode);
        } else if (!take_payload(decode, in, type, &unused)) {
            return false;
        }
    }
    return true;
}

static unsigned type_of(ProtoCoding coding)
{
    return coding == PROTO_FIXED32   ? TYPE_32
           : coding == PROTO_FIXED64 ? TYPE_64
           : coding == PROTO_SPAN    ? TYPE_SPAN
                                     : TYPE_VARINT;
}

static bool note(Decode *decode, const WireType *wire, uint32_t slots, const WireType *child,
                 ProtoSpot spot)
{
    uint32_t number = (uint32_t)(child - wire->children);
    if (child->proto.oneof) { /* of these the last one is there, alone */
        uint32_t *there = &decode->slots[slots + wire->child_count + child->proto.oneof - 1].first;
        if (*there && *there != number + 1)
            decode->slots[slots + *there - 1] = (ProtoSlot){0};
        *there = number + 1;
    }
    uint32_t at = add_spot(decode, spot);
    if (!at)
        return false;
    ProtoSlot *slot = &decode->slots[slots + number];
    if (slot->last)
        spot_at(decode, slot->last)->next = at;
    else
        slot->first = at;
    slot->last = at;
    return true;
}

/* Where the fields of a message are: of child i in slot *ret + i. */
static bool look(Decode *decode, const WireType *wire, const uint8_t *at, size_t bytes,
                 uint32_t *ret)
{
    Reader in = reader_over(at, bytes);
    uint32_t number, guess = 0;
    unsigned type;
    *ret = add_slots(decode, wire->child_count + wire->proto.oneof_count);
    while (reader_left(&in)) {
        ProtoSpot spot = {0};
        if (!take_tag(decode, &in, &number, &type))
            return false;
        const WireType *child = find_field(wire, number, &guess);
        bool group = type == TYPE_GROUP;
        if (group ? !skip_group(decode, &in, number) : !take_payload(decode, &in, type, &spot))
            return false;
        if (!child)
            continue;
        bool packed = child->kind == WIRE_ARRAY && type == TYPE_SPAN;
        if (type != type_of(child->proto.coding) && !packed) {
            decode->field = decode->field ? decode->field : child;
            return decode_bad(decode, "is coded otherwise than its schema says");
        }
        if (!note(decode, wire, *ret, child, spot))
            return false;
    }
    return true;
}

/* ---------- values ---------- */
static int64_t integer_of(const WireType *wire, uint64_t value)
{
    switch (wire->proto.coding) {
    case PROTO_VARINT32:
        return (int64_t)(uint32_t)value;
    case PROTO_ZIGZAG:
        if (wire->kind == WIRE_INT)
            value = (uint32_t)value;
        return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
    default:
        return wire->kind == WIRE_INT ? (int64_t)(int32_t)(uint32_t)value : (int64_t)value;
    }
}

/* A number that its enum does not have (a later one's) stays a number. */
static void put_symbol(Decode *decode, const WireType *wire, Column *column, uint64_t value)
{
    int32_t number = (int32_t)(uint32_t)value;
    char text[16];
    for (uint32_t i = 0; i < wire->symbol_count; i++)
        if (wire->proto.numbers[i] == number) {
            column_put_bytes(decode->batch, column, wire->symbols[i], strlen(wire->symbols[i]));
            return;
        }
    int bytes = snprintf(text, sizeof text, "%d", number);
    column_put_bytes(decode->batch, column, text, (size_t)bytes);
}

static bool put_real(Decode *decode, const WireType *wire, Column *column, uint64_t value)
{
    double real;
    float single;
    uint32_t word = (uint32_t)value;
    memcpy(&real, &value, sizeof real);
    memcpy(&single, &word, sizeof single);
    return event_put_real(decode, column, wire->kind == WIRE_FLOAT ? (double)single : real);
}

static bool put_scalar(Decode *decode, const WireType *wire, Column *column, const ProtoSpot *spot)
{
    const uint8_t *at = spot->value ? spot->at : (const uint8_t *)"";
    switch (wire->kind) {
    case WIRE_BOOLEAN:
        column_put_bool(decode->batch, column, spot->value != 0);
        return true;
    case WIRE_UNSIGNED:
        column_put_i128(decode->batch, column, (__int128)spot->value);
        return true;
    case WIRE_FLOAT:
    case WIRE_DOUBLE:
        return put_real(decode, wire, column, spot->value);
    case WIRE_ENUM:
        put_symbol(decode, wire, column, spot->value);
        return true;
    case WIRE_STRING:
        if (UNLIKELY(!text_is_utf8(at, spot->value)))
            return decode_bad(decode, "has a text that is no UTF-8");
        return event_put_text(decode, wire, column, (const char *)at, spot->value);
    case WIRE_BYTES:
        return event_put_bytes(decode, wire, column, at, spot->value);
    default:
        return event_put_integer(decode, column, integer_of(wire, spot->value));
    }
}

/* The value of a child that is a number; left out: 0. */
static int64_t number_in(const Decode *decode, const WireType *wire, uint32_t slots, uint32_t child)
{
    uint32_t last = decode->slots[slots + child].last;
    return last ? integer_of(&wire->children[child], spot_at(decode, last)->value) : 0;
}

/* {seconds, nanos} */
static bool put_seconds(Decode *decode, const WireType *wire, Column *column, uint32_t slots)
{
    int64_t seconds = number_in(decode, wire, slots, 0), nanos = number_in(decode, wire, slots, 1);
    int64_t micros;
    /* a Timestamp's nanos count forward, whatever the seconds' sign; a Duration's share it */
    bool instant = column->field->type.kind == TYPE_TIMESTAMPTZ;
    if (nanos <= -NANOS || nanos >= NANOS || (instant && nanos < 0) ||
        (!instant && ((seconds < 0 && nanos > 0) || (seconds > 0 && nanos < 0))) ||
        __builtin_mul_overflow(seconds, INT64_C(1000000), &micros) ||
        __builtin_add_overflow(micros, nanos / 1000, &micros))
        return decode_bad(decode, "is no time of its range");
    if (nanos % 1000)
        return decode_bad(decode, "is finer than a microsecond");
    column_put_i64(decode->batch, column, micros);
    return true;
}

static bool put_field(Decode *decode, const WireType *wire, Column *column, ProtoSlot slot);

static bool put_parts(Decode *decode, const WireType *wire, Column *column, uint32_t slots)
{
    if (wire->proto.boxed)
        return put_field(decode, &wire->children[0], column, decode->slots[slots]);
    if (wire->form == FORM_PRESENT) {
        column_put_bool(decode->batch, column, true);
        return true;
    }
    if (wire->form == FORM_SECONDS)
        return put_seconds(decode, wire, column, slots);
    decode->values += wire->child_count;
    if (decode->values > VALUES_MAX)
        return decode_bad(decode, "has too many values");
    for (uint32_t i = 0; i < wire->child_count; i++)
        if (!put_field(decode, &wire->children[i], &column->child[i], decode->slots[slots + i]))
            return false;
    column_put_struct(decode->batch, column);
    return true;
}

/* Its pieces are one behind the other: what is merged field by field is what these say together. */
static void gather(const Decode *decode, ProtoSlot slot, Bytes *to)
{
    for (uint32_t at = slot.first; at; at = spot_at(decode, at)->next)
        bytes_put(to, spot_at(decode, at)->at, spot_at(decode, at)->value);
}

static bool put_message(Decode *decode, const WireType *wire, Column *column, ProtoSlot slot)
{
    uint32_t slots, slot_count = decode->slot_count, spot_count = decode->spot_count;
    Bytes whole = {0};
    const uint8_t *at = slot.first ? spot_at(decode, slot.first)->at : (const uint8_t *)"";
    size_t bytes = slot.first ? spot_at(decode, slot.first)->value : 0;
    if (UNLIKELY(slot.first != slot.last)) {
        gather(decode, slot, &whole);
        at = whole.used ? whole.data : at;
        bytes = whole.used;
    }
    bool ok = look(decode, wire, at, bytes, &slots) && put_parts(decode, wire, column, slots);
    decode->slot_count = slot_count;
    decode->spot_count = spot_count;
    bytes_done(&whole);
    return ok;
}

/* One value of a list or a map. */
static bool put_one(Decode *decode, const WireType *wire, Column *column, uint32_t spot)
{
    column_element_room(decode->batch, column);
    if (++decode->values > VALUES_MAX)
        return decode_bad(decode, "has too many values");
    return put_field(decode, wire, column, (ProtoSlot){spot, spot});
}

static bool put_packed(Decode *decode, const WireType *wire, Column *column, uint32_t number)
{
    const ProtoSpot *spot = spot_at(decode, number);
    Reader in = reader_over(spot->at, spot->value);
    uint32_t at = add_spot(decode, (ProtoSpot){0});
    if (!at)
        return false;
    while (reader_left(&in)) {
        ProtoSpot one = {0};
        if (!take_payload(decode, &in, type_of(wire->proto.coding), &one))
            return false;
        *spot_at(decode, at) = one;
        if (!put_one(decode, wire, column, at))
            return false;
    }
    return true;
}

static bool put_list(Decode *decode, const WireType *wire, Column *column, ProtoSlot slot)
{
    const WireType *element = &wire->children[0];
    for (uint32_t at = slot.first, next; at; at = next) {
        next = spot_at(decode, at)->next;
        bool packed = spot_at(decode, at)->type == TYPE_SPAN && element->proto.coding != PROTO_SPAN;
        if (packed ? !put_packed(decode, element, column->child, at)
                   : !put_one(decode, element, column->child, at))
            return false;
    }
    column_put_list(decode->batch, column);
    return true;
}

/* Its entries are messages {key, value}. */
static bool put_map(Decode *decode, const WireType *wire, Column *column, ProtoSlot slot)
{
    for (uint32_t at = slot.first, next; at; at = next) {
        uint32_t slots, slot_count = decode->slot_count, spot_count = decode->spot_count;
        next = spot_at(decode, at)->next;
        const ProtoSpot entry = *spot_at(decode, at);
        decode->values += 2;
        if (decode->values > VALUES_MAX)
            return decode_bad(decode, "has too many values");
        if (!look(decode, wire, entry.at, entry.value, &slots))
            return false;
        for (uint32_t i = 0; i < 2; i++) {
            const WireType *part = &wire->children[i];
            ProtoSlot of = decode->slots[slots + i];
            column_element_room(decode->batch, &column->child[i]);
            bool message = part->kind == WIRE_STRUCT || part->proto.boxed;
            if (message ? !put_message(decode, part, &column->child[i], of)
                        : !put_field(decode, part, &column->child[i], of))
                return false;
        }
        decode->slot_count = slot_count;
        decode->spot_count = spot_count;
    }
    column_put_list(decode->batch, column);
    return true;
}

static bool put_field(Decode *decode, const WireType *wire, Column *column, ProtoSlot slot)
{
    static const ProtoSpot nothing = {0};
    if (wire->kind == WIRE_ARRAY)
        return put_list(decode, wire, column, slot);
    if (wire->kind == WIRE_MAP)
        return put_map(decode, wire, column, slot);
    if (!slot.last) {
        if (UNLIKELY(wire->proto.required))
            return decode_bad(decode, "is required by its schema, and missing");
        return wire->proto.implicit ? put_scalar(decode, wire, column, &nothing)
                                    : event_put_null(decode, column);
    }
    if (wire->kind == WIRE_STRUCT || wire->proto.boxed)
        return put_message(decode, wire, column, slot);
    return put_scalar(decode, wire, column, spot_at(decode, slot.last));
}

bool event_put_proto(Decode *decode, Reader *in, const WireType *row)
{
    uint32_t slots;
    decode->field = NULL;
    decode->spot_count = decode->slot_count = decode->values = 0;
    if (UNLIKELY(decode->spots_held > SPOTS_KEPT)) { /* a large record's, once */
        free(decode->spots);
        decode->spots = NULL;
        decode->spots_held = 0;
    }
    decode_row_begin(decode);
    if (!look(decode, row, in->at, reader_left(in), &slots))
        return false;
    in->at = in->end;
    for (uint32_t i = 0; i < row->child_count; i++) {
        const WireType *field = &row->children[i];
        decode->field = field;
        if (UNLIKELY(field->column == COLUMN_NONE))
            continue;
        if (!decode_sees(decode, field->column) ||
            !put_field(decode, field, &decode->batch->columns[field->column],
                       decode->slots[slots + i]))
            return false;
    }
    decode->field = NULL;
    return event_put_missing(decode);
}

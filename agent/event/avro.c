/* Avro's binary encoding → columns. https://avro.apache.org/docs/1.11.1/specification/ */
#include <string.h>

#include "agent/event/decode.h"
#include "common/text.h"

#define CUT "is cut short, or no Avro of its schema"
#define BLOCK_ITEMS_MAX (INT64_C(1) << 28)

static bool cut(Decode *decode)
{
    return decode_bad(decode, CUT);
}

static inline bool is_there(Decode *decode, Reader *in, const WireType *wire, bool *ret)
{
    int64_t branch;
    *ret = wire->kind != WIRE_NULL;
    if (!wire->branch_count)
        return true;
    /* nearly always one byte: the branch, doubled */
    if (LIKELY(in->at < in->end && *in->at < 0x80))
        branch = (int64_t)(*in->at >> 1) ^ -(int64_t)(*in->at & 1), in->at++;
    else if (!reader_zigzag(in, &branch))
        return cut(decode);
    if (branch < 0 || branch >= wire->branch_count)
        return cut(decode);
    *ret = wire->branch_count == 1 || branch != wire->null_branch;
    return true;
}

bool avro_is_there(Decode *decode, Reader *in, const WireType *wire, bool *ret)
{
    return is_there(decode, in, wire, ret);
}

static inline bool take_span(Decode *decode, Reader *in, const uint8_t **ret, size_t *ret_bytes)
{
    int64_t bytes;
    if (UNLIKELY(!reader_zigzag(in, &bytes) || bytes < 0 || !reader_take(in, (size_t)bytes, ret)))
        return cut(decode);
    *ret_bytes = (size_t)bytes;
    return true;
}

/* A block of an array or map begins: *ret items follow; 0: it was the last. A negative count has
 * the block's size behind it. */
static bool take_block(Decode *decode, Reader *in, int64_t *ret)
{
    int64_t size;
    if (!reader_zigzag(in, ret) || *ret < -BLOCK_ITEMS_MAX || *ret > BLOCK_ITEMS_MAX)
        return cut(decode);
    if (*ret >= 0)
        return true;
    *ret = -*ret;
    return reader_zigzag(in, &size) || cut(decode);
}

/* Items that take no bytes could be as many as a number says. */
static bool check_items(Decode *decode, const Reader *in, int64_t count)
{
    return (uint64_t)count <= reader_left(in) || cut(decode);
}

/* --- passed over --- */

static bool skip_bytes(Decode *decode, Reader *in, size_t bytes)
{
    const uint8_t *unused;
    return reader_take(in, bytes, &unused) || cut(decode);
}

static bool skip_items(Decode *decode, Reader *in, const WireType *wire, unsigned depth)
{
    int64_t count;
    const uint8_t *key;
    size_t key_bytes;
    for (;;) {
        if (!take_block(decode, in, &count) || !check_items(decode, in, count))
            return false;
        if (!count)
            return true;
        for (int64_t i = 0; i < count; i++) {
            if (wire->kind == WIRE_MAP && !take_span(decode, in, &key, &key_bytes))
                return false;
            if (!avro_skip(decode, in, &wire->children[wire->child_count - 1], depth + 1))
                return false;
        }
    }
}

/* Its last byte is the first without the highest bit: looked for in eight at once. */
static inline bool skip_number(Decode *decode, Reader *in)
{
    uint64_t eight;
    if (LIKELY(reader_left(in) >= sizeof eight)) {
        memcpy(&eight, in->at, sizeof eight);
        uint64_t last = ~eight & UINT64_C(0x8080808080808080);
        if (LIKELY(last)) {
            in->at += __builtin_ctzll(last) / 8 + 1;
            return true;
        }
    }
    uint64_t unused;
    return reader_varint(in, &unused) || cut(decode);
}

static bool skip_nested(Decode *decode, Reader *in, const WireType *wire, unsigned depth);

static inline bool skip_one(Decode *decode, Reader *in, const WireType *wire, unsigned depth)
{
    bool there;
    const uint8_t *at;
    size_t bytes;
    if (!is_there(decode, in, wire, &there))
        return false;
    if (!there)
        return true;
    switch (wire->kind) {
    case WIRE_INT:
    case WIRE_LONG:
    case WIRE_ENUM:
        return skip_number(decode, in);
    case WIRE_STRING:
    case WIRE_BYTES:
        return take_span(decode, in, &at, &bytes);
    default:
        return skip_nested(decode, in, wire, depth);
    }
}

/* Most of what is passed over is plain values of a struct: here without a call for each. */
static bool skip_fields(Decode *decode, Reader *in, const WireType *fields, uint32_t count,
                        unsigned depth)
{
    Reader at = *in;
    for (uint32_t i = 0; i < count; i++)
        if (UNLIKELY(!skip_one(decode, &at, &fields[i], depth)))
            return false;
    *in = at;
    return true;
}

static bool skip_nested(Decode *decode, Reader *in, const WireType *wire, unsigned depth)
{
    switch (wire->kind) {
    case WIRE_NULL:
        return true;
    case WIRE_BOOLEAN:
        return skip_bytes(decode, in, 1);
    case WIRE_FLOAT:
        return skip_bytes(decode, in, 4);
    case WIRE_DOUBLE:
        return skip_bytes(decode, in, 8);
    case WIRE_FIXED:
        return skip_bytes(decode, in, wire->fixed_bytes);
    case WIRE_ARRAY:
    case WIRE_MAP:
        return skip_items(decode, in, wire, depth);
    case WIRE_STRUCT:
        return skip_fields(decode, in, wire->children, wire->child_count, depth + 1);
    case WIRE_NATURAL:  /* JSON's alone */
    case WIRE_UNSIGNED: /* Protobuf's */
    case WIRE_INT:      /* skip_one's */
    case WIRE_LONG:
    case WIRE_ENUM:
    case WIRE_STRING:
    case WIRE_BYTES:
        break;
    }
    return false;
}

bool avro_skip(Decode *decode, Reader *in, const WireType *wire, unsigned depth)
{
    return skip_one(decode, in, wire, depth);
}

bool avro_skip_fields(Decode *decode, Reader *in, const WireType *fields, uint32_t count)
{
    return skip_fields(decode, in, fields, count, 0);
}

/* --- put --- */

static bool put_value(Decode *decode, Reader *in, const WireType *wire, Column *column);

static bool put_items(Decode *decode, Reader *in, const WireType *wire, Column *column)
{
    int64_t count;
    const uint8_t *key;
    size_t key_bytes;
    bool is_map = wire->kind == WIRE_MAP;
    for (;;) {
        if (!take_block(decode, in, &count) || !check_items(decode, in, count))
            return false;
        if (!count)
            break;
        for (int64_t i = 0; i < count; i++) {
            if (is_map) {
                if (!take_span(decode, in, &key, &key_bytes))
                    return false;
                if (!text_is_utf8(key, key_bytes))
                    return decode_bad(decode, "has a text that is no UTF-8");
                column_element_room(decode->batch, &column->child[0]);
                column_put_bytes(decode->batch, &column->child[0], key, key_bytes);
            }
            Column *child = &column->child[is_map];
            column_element_room(decode->batch, child);
            if (!put_value(decode, in, &wire->children[is_map], child))
                return false;
        }
    }
    column_put_list(decode->batch, column);
    return true;
}

static bool put_struct(Decode *decode, Reader *in, const WireType *wire, Column *column)
{
    for (uint32_t i = 0; i < wire->child_count; i++)
        if (!put_value(decode, in, &wire->children[i], &column->child[i]))
            return false;
    column_put_struct(decode->batch, column);
    return true;
}

static bool take_real(Decode *decode, Reader *in, const WireType *wire, double *ret)
{
    uint32_t word;
    uint64_t words;
    float single;
    if (wire->kind == WIRE_FLOAT) {
        if (!reader_u32(in, &word))
            return cut(decode);
        memcpy(&single, &word, sizeof single);
        *ret = (double)single;
        return true;
    }
    if (!reader_u64(in, &words))
        return cut(decode);
    memcpy(ret, &words, sizeof *ret);
    return true;
}

/* {scale, value}, {x, y, …}, {wkb, …}: a struct whose parts make one value. */
static bool put_parts(Decode *decode, Reader *in, const WireType *wire, Column *column)
{
    double x = 0, y = 0;
    int64_t scale = 0;
    const uint8_t *bytes = NULL;
    size_t count = 0;
    for (uint32_t i = 0; i < wire->child_count; i++) {
        const WireType *part = &wire->children[i];
        bool there, wanted = strcmp(part->field, "x") == 0 || strcmp(part->field, "y") == 0 ||
                             strcmp(part->field, "scale") == 0 ||
                             strcmp(part->field, "value") == 0 ||
                             (strcmp(part->field, "wkb") == 0 && wire->form == FORM_WKB);
        if (!wanted) {
            if (!avro_skip(decode, in, part, 0))
                return false;
            continue;
        }
        if (!avro_is_there(decode, in, part, &there))
            return false;
        if (!there)
            return decode_bad(decode, "lacks a part");
        bool ok = part->kind == WIRE_DOUBLE
                      ? take_real(decode, in, part, part->field[0] == 'x' ? &x : &y)
                  : part->kind == WIRE_BYTES ? take_span(decode, in, &bytes, &count)
                                             : reader_zigzag(in, &scale) || cut(decode);
        if (!ok)
            return false;
    }
    if (wire->form == FORM_VARIABLE)
        return event_put_variable(decode, column, bytes, count, scale);
    if (wire->form == FORM_WKB)
        return event_put_bytes(decode, wire, column, bytes, count);
    bytes_clear(&decode->text);
    value_point(x, y, &decode->text);
    column_put_bytes(decode->batch, column, decode->text.data, decode->text.used);
    return true;
}

static bool put_symbol(Decode *decode, Reader *in, const WireType *wire, Column *column)
{
    int64_t at;
    if (!reader_zigzag(in, &at) || at < 0 || at >= wire->symbol_count)
        return cut(decode);
    const char *text = wire->symbols[at];
    column_put_bytes(decode->batch, column, text, strlen(text));
    return true;
}

static bool put_there(Decode *decode, Reader *in, const WireType *wire, Column *column)
{
    int64_t integer;
    double real;
    const uint8_t *at;
    size_t bytes = wire->fixed_bytes;
    uint8_t boolean;
    switch (wire->form) {
    case FORM_INTEGER:
        if (UNLIKELY(!reader_zigzag(in, &integer)))
            return cut(decode);
        return event_put_integer(decode, column, integer);
    case FORM_MICROS:
        if (UNLIKELY(!reader_zigzag(in, &integer)))
            return cut(decode);
        return event_put_micros(decode, wire, column, integer);
    case FORM_REAL:
        return take_real(decode, in, wire, &real) && event_put_real(decode, column, real);
    case FORM_BOOLEAN:
        if (!reader_u8(in, &boolean) || boolean > 1)
            return cut(decode);
        column_put_bool(decode->batch, column, boolean);
        return true;
    case FORM_TEXT:
    case FORM_ZONED:
    case FORM_UUID:
        if (wire->kind == WIRE_ENUM)
            return put_symbol(decode, in, wire, column);
        if (UNLIKELY(!take_span(decode, in, &at, &bytes)))
            return false;
        if (UNLIKELY(!text_is_utf8(at, bytes)))
            return decode_bad(decode, "has a text that is no UTF-8");
        return event_put_text(decode, wire, column, (const char *)at, bytes);
    case FORM_BINARY:
    case FORM_DECIMAL:
    case FORM_DECIMAL_TEXT:
    case FORM_BITS:
        if (!(wire->kind == WIRE_FIXED ? reader_take(in, bytes, &at) || cut(decode)
                                       : take_span(decode, in, &at, &bytes)))
            return false;
        return event_put_bytes(decode, wire, column, at, bytes);
    case FORM_VARIABLE:
    case FORM_POINT:
    case FORM_WKB:
        return put_parts(decode, in, wire, column);
    case FORM_LIST:
    case FORM_MAP:
        return put_items(decode, in, wire, column);
    case FORM_STRUCT:
        return put_struct(decode, in, wire, column);
    case FORM_JSON: /* JSON's alone, these */
    case FORM_NUMBER:
    case FORM_DATE:
    case FORM_TIME:
    case FORM_LOCAL:
    case FORM_SCALED:
    case FORM_HEX:
    case FORM_UNSIGNED: /* Protobuf's */
    case FORM_SECONDS:
    case FORM_PRESENT:
        break;
    }
    return false;
}

static bool put_value(Decode *decode, Reader *in, const WireType *wire, Column *column)
{
    bool there;
    if (UNLIKELY(!is_there(decode, in, wire, &there)))
        return false;
    return there ? put_there(decode, in, wire, column) : event_put_null(decode, column);
}

/* Is the value that comes the placeholder? */
static bool is_placeholder(const Reader *in, const WireType *field)
{
    static const char text[] = PLACEHOLDER;
    Reader ahead = *in;
    int64_t branch, bytes;
    if (field->kind != WIRE_STRING && field->kind != WIRE_BYTES)
        return false;
    if (field->branch_count && (!reader_zigzag(&ahead, &branch) || branch == field->null_branch))
        return false;
    return reader_zigzag(&ahead, &bytes) && bytes == sizeof text - 1 &&
           reader_left(&ahead) >= sizeof text - 1 && memcmp(ahead.at, text, sizeof text - 1) == 0;
}

bool event_put_avro(Decode *decode, Reader *in, const WireType *row)
{
    decode->field = NULL;
    decode_row_begin(decode);
    bool looks = decode->may_leave_out && (decode->has_unchanged || !decode->unchanged);
    for (uint32_t i = 0; i < row->child_count; i++) {
        const WireType *field = &row->children[i];
        decode->field = field;
        if (UNLIKELY(field->column == COLUMN_NONE)) {
            if (!avro_skip(decode, in, field, 0))
                return false;
            continue;
        }
        if (!decode_sees(decode, field->column))
            return false;
        Column *column = &decode->batch->columns[field->column];
        if (UNLIKELY(looks) &&
            (decode->unchanged ? field_bit(decode->unchanged, i) : is_placeholder(in, field))) {
            if (!avro_skip(decode, in, field, 0))
                return false;
            column_put_unchanged(decode->batch, column);
            continue;
        }
        if (UNLIKELY(!put_value(decode, in, field, column)))
            return false;
    }
    decode->field = NULL;
    return event_put_missing(decode);
}

/* JSON values as Connect's JsonConverter writes them → columns. */
#include <string.h>

#include "agent/event/decode.h"

static bool put_value(Decode *decode, Scan *json, const WireType *wire, Column *column,
                      unsigned depth);

static bool lift(Decode *decode, const Scan *json)
{
    return decode_bad(decode, json->why);
}

static bool take_base64(Decode *decode, Scan *json)
{
    const char *text;
    size_t bytes;
    bytes_clear(&decode->bytes);
    if (!scan_text(json, &text, &bytes))
        return lift(decode, json);
    return value_base64(text, bytes, &decode->bytes) || decode_bad(decode, "is no base64");
}

static bool put_array(Decode *decode, Scan *json, const WireType *wire, Column *column,
                      unsigned depth)
{
    bool end = false;
    if (!scan_expect(json, '['))
        return lift(decode, json);
    for (bool first = true;; first = false) {
        if (!scan_element(json, first, &end))
            return lift(decode, json);
        if (end)
            break;
        column_element_room(decode->batch, column->child);
        if (!put_value(decode, json, &wire->children[0], column->child, depth + 1))
            return false;
    }
    column_put_list(decode->batch, column);
    return true;
}

/* A map with text keys is an object. */
static bool put_map(Decode *decode, Scan *json, const WireType *wire, Column *column,
                    unsigned depth)
{
    const char *name;
    size_t bytes;
    bool end = false;
    if (!scan_expect(json, '{'))
        return lift(decode, json);
    for (bool first = true;; first = false) {
        if (!scan_member(json, first, &name, &bytes, &end))
            return lift(decode, json);
        if (end)
            break;
        column_element_room(decode->batch, &column->child[0]);
        column_element_room(decode->batch, &column->child[1]);
        column_put_bytes(decode->batch, &column->child[0], name, bytes);
        if (!put_value(decode, json, &wire->children[1], &column->child[1], depth + 1))
            return false;
    }
    column_put_list(decode->batch, column);
    return true;
}

static inline bool name_is(const WireType *field, const char *name, size_t bytes)
{
    return field->field_bytes == bytes && memcmp(field->field, name, bytes) == 0;
}

/* The field of that name; *next is where it is looked for first: writers keep an order. */
static const WireType *find_field(const WireType *wire, const char *name, size_t bytes,
                                  uint32_t *next)
{
    if (LIKELY(*next < wire->child_count && name_is(&wire->children[*next], name, bytes)))
        return &wire->children[(*next)++];
    for (uint32_t i = 0; i < wire->child_count; i++)
        if (name_is(&wire->children[i], name, bytes)) {
            *next = i + 1;
            return &wire->children[i];
        }
    return NULL;
}

/* Of a struct in a column; a field that stands twice is refused by its column's count. */
static bool put_struct(Decode *decode, Scan *json, const WireType *wire, Column *column,
                       unsigned depth)
{
    const char *name;
    size_t bytes;
    bool end = false;
    uint32_t next = 0, row = column->rows;
    if (!scan_expect(json, '{'))
        return lift(decode, json);
    for (bool first = true;; first = false) {
        if (!scan_member(json, first, &name, &bytes, &end))
            return lift(decode, json);
        if (end)
            break;
        const WireType *field = find_field(wire, name, bytes, &next);
        if (!field) {
            if (!scan_skip(json))
                return lift(decode, json);
            continue;
        }
        Column *child = &column->child[field - wire->children];
        if (child->rows != row)
            return decode_bad(decode, "has a field that stands twice");
        if (!put_value(decode, json, field, child, depth + 1))
            return false;
    }
    for (uint32_t i = 0; i < wire->child_count; i++)
        if (column->child[i].rows == row)
            column_put_null(decode->batch, &column->child[i]);
    column_put_struct(decode->batch, column);
    return true;
}

/* {scale, value}, {x, y, wkb, srid}, {wkb, srid}: what the form wants of them. */
typedef struct Parts {
    double x, y;
    int64_t scale;
    bool has_x, has_y, has_scale, has_bytes;
} Parts;

static bool take_parts(Decode *decode, Scan *json, WireForm form, Parts *ret)
{
    const char *name;
    size_t bytes;
    bool end = false, ok = true;
    *ret = (Parts){0};
    if (!scan_expect(json, '{'))
        return lift(decode, json);
    for (bool first = true; ok; first = false) {
        if (!scan_member(json, first, &name, &bytes, &end))
            return lift(decode, json);
        if (end)
            return true;
        if (form == FORM_VARIABLE && bytes == 5 && memcmp(name, "scale", 5) == 0)
            ok = ret->has_scale = scan_integer(json, &ret->scale);
        else if ((form == FORM_VARIABLE && bytes == 5 && memcmp(name, "value", 5) == 0) ||
                 (form == FORM_WKB && bytes == 3 && memcmp(name, "wkb", 3) == 0))
            ret->has_bytes = take_base64(decode, json), ok = ret->has_bytes;
        else if (form == FORM_POINT && bytes == 1 && *name == 'x')
            ok = ret->has_x = scan_real(json, &ret->x);
        else if (form == FORM_POINT && bytes == 1 && *name == 'y')
            ok = ret->has_y = scan_real(json, &ret->y);
        else
            ok = scan_skip(json);
    }
    return lift(decode, json);
}

static bool put_parts(Decode *decode, Scan *json, const WireType *wire, Column *column)
{
    Parts parts;
    const Bytes *bytes = &decode->bytes;
    if (!take_parts(decode, json, wire->form, &parts))
        return false;
    switch (wire->form) {
    case FORM_VARIABLE:
        if (!parts.has_scale || !parts.has_bytes)
            return decode_bad(decode, "is no decimal");
        return event_put_variable(decode, column, bytes->data, bytes->used, parts.scale);
    case FORM_WKB:
        if (!parts.has_bytes)
            return decode_bad(decode, "is no geometry");
        return event_put_bytes(decode, wire, column, bytes->data, bytes->used);
    default:
        if (!parts.has_x || !parts.has_y)
            return decode_bad(decode, "is no point");
        bytes_clear(&decode->text);
        value_point(parts.x, parts.y, &decode->text);
        column_put_bytes(decode->batch, column, decode->text.data, decode->text.used);
        return true;
    }
}

/* A numeric without a scale of its own has each value's beside it. */
static bool put_scaled(Decode *decode, Scan *json, const WireType *wire, Column *column)
{
    Parts parts;
    __int128 value;
    const Type *type = &column->field->type;
    const Bytes *bytes = &decode->bytes, *text = &decode->text;
    if (scan_peek(json) != '{')
        return take_base64(decode, json) &&
               event_put_bytes(decode, wire, column, bytes->data, bytes->used);
    if (!take_parts(decode, json, FORM_VARIABLE, &parts))
        return false;
    bytes_clear(&decode->text);
    if (!parts.has_scale || !parts.has_bytes || parts.scale > VALUE_SCALE_MAX ||
        parts.scale < -VALUE_SCALE_MAX ||
        !value_decimal_text(bytes->data, bytes->used, (int32_t)parts.scale, &decode->text))
        return decode_bad(decode, "is no decimal");
    if (!value_number((const char *)text->data, text->used, type->precision, type->scale, &value))
        return decode_bad(decode, "has more digits than its column");
    column_put_i128(decode->batch, column, value);
    return true;
}

static bool put_hex(Decode *decode, Scan *json, const WireType *wire, Column *column)
{
    const char *text;
    size_t bytes;
    bytes_clear(&decode->bytes);
    if (!scan_text(json, &text, &bytes))
        return lift(decode, json);
    if (!value_hex(text, bytes, &decode->bytes))
        return decode_bad(decode, "is no bytes in hexadecimal");
    return event_put_bytes(decode, wire, column, decode->bytes.data, decode->bytes.used);
}

static bool put_value(Decode *decode, Scan *json, const WireType *wire, Column *column,
                      unsigned depth)
{
    int64_t integer;
    double real;
    bool boolean;
    const char *text;
    size_t bytes;
    if (UNLIKELY(scan_null(json)))
        return event_put_null(decode, column);
    switch (wire->form) {
    case FORM_INTEGER:
        if (UNLIKELY(!scan_integer(json, &integer)))
            return lift(decode, json);
        return event_put_integer(decode, column, integer);
    case FORM_MICROS:
        if (UNLIKELY(!scan_integer(json, &integer)))
            return lift(decode, json);
        return event_put_micros(decode, wire, column, integer);
    case FORM_TEXT:
    case FORM_ZONED:
    case FORM_UUID:
        if (UNLIKELY(!scan_text(json, &text, &bytes)))
            return lift(decode, json);
        return event_put_text(decode, wire, column, text, bytes);
    case FORM_BINARY:
    case FORM_DECIMAL:
    case FORM_DECIMAL_TEXT:
    case FORM_BITS:
        return take_base64(decode, json) &&
               event_put_bytes(decode, wire, column, decode->bytes.data, decode->bytes.used);
    case FORM_REAL:
        if (UNLIKELY(!scan_real(json, &real)))
            return lift(decode, json);
        return event_put_real(decode, column, real);
    case FORM_BOOLEAN:
        if (UNLIKELY(!scan_boolean(json, &boolean)))
            return lift(decode, json);
        column_put_bool(decode->batch, column, boolean);
        return true;
    case FORM_VARIABLE:
    case FORM_POINT:
    case FORM_WKB:
        return put_parts(decode, json, wire, column);
    case FORM_JSON:
    case FORM_NUMBER:
    case FORM_DATE:
    case FORM_TIME:
    case FORM_LOCAL:
        return event_put_natural(decode, json, wire, column);
    case FORM_SCALED:
        return put_scaled(decode, json, wire, column);
    case FORM_HEX:
        return put_hex(decode, json, wire, column);
    case FORM_LIST:
        return put_array(decode, json, wire, column, depth);
    case FORM_MAP:
        return put_map(decode, json, wire, column, depth);
    case FORM_STRUCT:
        return put_struct(decode, json, wire, column, depth);
    case FORM_UNSIGNED: /* Protobuf's alone, these */
    case FORM_SECONDS:
    case FORM_PRESENT:
        break;
    }
    return false;
}

static bool begins(const Scan *json, const char *text, size_t bytes)
{
    return (size_t)(json->end - json->at) >= bytes && memcmp(json->at, text, bytes) == 0;
}

/* The update left the value out: the header says so or, where there is none, the placeholder. */
static bool is_left_out(const Decode *decode, Scan *json, const WireType *row,
                        const WireType *field)
{
    static const char text[] = "\"" PLACEHOLDER "\"", base64[] = "\"" PLACEHOLDER_BASE64 "\"";
    if (decode->unchanged)
        return field_bit(decode->unchanged, (uint32_t)(field - row->children));
    if (scan_peek(json) != '"')
        return false;
    /* what a declared column was at the source nobody says */
    return (field->kind != WIRE_STRING && begins(json, base64, sizeof base64 - 1)) ||
           ((field->kind == WIRE_STRING || field->kind == WIRE_NATURAL) &&
            begins(json, text, sizeof text - 1));
}

bool event_put_json(Decode *decode, Scan *json, const WireType *row)
{
    const char *name;
    size_t bytes;
    bool end = false;
    uint32_t next = 0;
    decode->field = NULL;
    decode_row_begin(decode);
    if (!scan_expect(json, '{'))
        return lift(decode, json);
    for (bool first = true;; first = false) {
        if (UNLIKELY(!scan_member(json, first, &name, &bytes, &end)))
            return lift(decode, json);
        if (end)
            break;
        const WireType *field = find_field(row, name, bytes, &next);
        if (UNLIKELY(!field || field->column == COLUMN_NONE)) {
            if (!scan_skip(json))
                return lift(decode, json);
            continue;
        }
        decode->field = field;
        Column *column = &decode->batch->columns[field->column];
        if (!decode_sees(decode, field->column))
            return false;
        if (UNLIKELY(decode->may_leave_out && (decode->has_unchanged || !decode->unchanged)) &&
            is_left_out(decode, json, row, field)) {
            if (!scan_skip(json))
                return lift(decode, json);
            column_put_unchanged(decode->batch, column);
            continue;
        }
        if (UNLIKELY(!put_value(decode, json, field, column, 0)))
            return false;
        decode->field = NULL;
    }
    return event_put_missing(decode);
}

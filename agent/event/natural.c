/* Values of plain JSON, whose columns are declared: nothing on the wire says what they are but they
 * themselves. Each is read by its column's type, without loss, or not at all. */
#include <string.h>

#include "agent/event/decode.h"
#include "common/text.h"

#define TEXT_BYTES 64 /* of a date or time */
#define DAY_MICROS INT64_C(86400000000)

/* With what makes a whole time of it in front and behind. */
static bool micros_of(const char *front, const char *text, size_t bytes, const char *behind,
                      int64_t *ret)
{
    char whole[2 * TEXT_BYTES];
    if (bytes > TEXT_BYTES)
        return false;
    int used = snprintf(whole, sizeof whole, "%s%.*s%s", front, (int)bytes, text, behind);
    return value_zoned(whole, (size_t)used, ret);
}

static bool put_date(Decode *decode, Column *column, const char *text, size_t bytes)
{
    int64_t micros;
    if (!micros_of("", text, bytes, "T00:00:00Z", &micros))
        return decode_bad(decode, "is no date (year-month-day)");
    return event_put_integer(decode, column, micros / DAY_MICROS);
}

static bool put_time(Decode *decode, Column *column, const char *text, size_t bytes)
{
    int64_t micros;
    if (!micros_of("1970-01-01T", text, bytes, "Z", &micros) || micros < 0 || micros >= DAY_MICROS)
        return decode_bad(decode, "is no time of a day, down to microseconds");
    column_put_i64(decode->batch, column, micros);
    return true;
}

static bool put_local(Decode *decode, Column *column, const char *text, size_t bytes)
{
    int64_t micros;
    if (!micros_of("", text, bytes, "Z", &micros))
        return decode_bad(decode, "is no time without a zone, down to microseconds");
    column_put_i64(decode->batch, column, micros);
    return true;
}

static bool put_number(Decode *decode, Column *column, const char *text, size_t bytes)
{
    __int128 value;
    const Type *type = &column->field->type;
    if (!value_number(text, bytes, type->precision, type->scale, &value))
        return decode_bad(decode, "is no number, or has more digits than its column");
    column_put_i128(decode->batch, column, value);
    return true;
}

static bool put_json(Decode *decode, Column *column, const char *text, size_t bytes)
{
    if (bytes > COLUMN_BYTES_MAX / 2)
        return decode_bad(decode, "is too long");
    if (!text_is_utf8((const uint8_t *)text, bytes))
        return decode_bad(decode, "is no UTF-8");
    column_put_bytes(decode->batch, column, text, bytes);
    return true;
}

bool event_put_natural(Decode *decode, Scan *json, const WireType *wire, Column *column)
{
    const char *text;
    size_t bytes;
    bool is_text = scan_peek(json) == '"';
    const char *from = json->at;
    if (!is_text && wire->form != FORM_JSON && wire->form != FORM_NUMBER)
        return decode_bad(decode, "is no text");
    if (is_text ? !scan_text(json, &text, &bytes) : !scan_skip(json))
        return decode_bad(decode, json->why);
    if (!is_text) {
        text = from;
        bytes = (size_t)(json->at - from);
    }
    switch (wire->form) {
    case FORM_DATE:
        return put_date(decode, column, text, bytes);
    case FORM_TIME:
        return put_time(decode, column, text, bytes);
    case FORM_LOCAL:
        return put_local(decode, column, text, bytes);
    case FORM_NUMBER:
        return put_number(decode, column, text, bytes);
    default:
        return put_json(decode, column, text, bytes);
    }
}

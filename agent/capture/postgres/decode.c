/* Values: the byte tables stand in decode.h. One switch per value, which the branch predictor
 * learns from the row's fixed order of columns; nothing is allocated here, the batch's arena grows.
 */
#include "agent/capture/postgres/decode.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/mem.h"
#include "common/reader.h"

#define DAYS_1970_TO_2000 10957
#define US_1970_TO_2000 INT64_C(946684800000000)
#define US_PER_DAY INT64_C(86400000000)
#define JSONB_VERSION 1

enum {
    SIGN_PLUS = 0,
    SIGN_MINUS = 0x4000,
    SIGN_NAN = 0xC000,
    SIGN_INF = 0xD000,
    SIGN_NINF = 0xF000
};

static uint16_t be16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap16(value);
}
static uint32_t be32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap32(value);
}
static uint64_t be64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

/* --- choosing --- */

/* numeric's typmod: precision in the high half, scale in 11 bits with sign (negative since 15). */
static void choose_numeric(int32_t typmod, PgDecoder *ret, Type *ret_type)
{
    uint32_t packed = typmod < 4 ? 0 : (uint32_t)typmod - 4;
    int precision = (int)(packed >> 16);
    int scale = (int)((packed & 0x7ff) ^ 1024) - 1024;
    if (precision < 1 || precision > 38 || scale < 0 || scale > precision) {
        ret->form = FORM_NUMERIC_TEXT;
        ret_type->kind = TYPE_STRING;
        return;
    }
    ret->form = FORM_DECIMAL;
    ret->precision = (uint8_t)precision;
    ret->scale = (uint8_t)scale;
    ret->limit = 1;
    for (int digit = 0; digit < precision; digit++)
        ret->limit *= 10;
    *ret_type =
        (Type){.kind = TYPE_DECIMAL, .precision = (uint8_t)precision, .scale = (uint8_t)scale};
}

static bool choose_scalar(uint32_t oid, char typtype, int32_t typmod, PgDecoder *ret, Type *type)
{
    static const struct {
        uint32_t oid; /* pg_type.dat */
        PgForm form;
        TypeKind kind;
    } known[] = {
        {16, FORM_BOOL, TYPE_BOOL},
        {17, FORM_BYTEA, TYPE_BINARY},
        {18, FORM_CHAR, TYPE_STRING},
        {19, FORM_TEXT, TYPE_STRING}, /* name */
        {20, FORM_INT8, TYPE_INT64},
        {21, FORM_INT2, TYPE_INT32},
        {23, FORM_INT4, TYPE_INT32},
        {25, FORM_TEXT, TYPE_STRING},
        {114, FORM_TEXT, TYPE_STRING}, /* json */
        {700, FORM_FLOAT4, TYPE_FLOAT32},
        {701, FORM_FLOAT8, TYPE_FLOAT64},
        {1042, FORM_TEXT, TYPE_STRING}, /* bpchar */
        {1043, FORM_TEXT, TYPE_STRING}, /* varchar */
        {1082, FORM_DATE, TYPE_DATE},
        {1083, FORM_TIME, TYPE_TIME},
        {1114, FORM_TIMESTAMP, TYPE_TIMESTAMP},
        {1184, FORM_TIMESTAMP, TYPE_TIMESTAMPTZ},
        {2950, FORM_UUID, TYPE_UUID},
        {3802, FORM_JSONB, TYPE_STRING},
    };
    if (oid == 1700) {
        choose_numeric(typmod, ret, type);
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].oid == oid) {
            ret->form = known[i].form;
            type->kind = known[i].kind;
            return true;
        }
    if (typtype != 'e')
        return false;
    ret->form = FORM_TEXT;
    type->kind = TYPE_STRING;
    return true;
}

bool decoder_choose(const PgTypeFacts *facts, PgDecoder *ret, Type *ret_type)
{
    *ret = (PgDecoder){.type_oid = facts->oid};
    *ret_type = (Type){0};
    if (!facts->element_oid)
        return choose_scalar(facts->oid, facts->typtype, facts->typmod, ret, ret_type);
    Type element = {0};
    if (!choose_scalar(facts->element_oid, facts->element_typtype, facts->typmod, ret, &element))
        return false;
    ret->element = ret->form;
    ret->form = FORM_ARRAY;
    ret->element_oid = facts->element_oid;
    ret_type->kind = TYPE_LIST;
    ret_type->element = mem_zalloc(sizeof *ret_type->element);
    *ret_type->element = (Field){.name = mem_strdup("element"), .type = element};
    return true;
}

bool decoder_same_typmod(const PgDecoder *decoder, int32_t typmod)
{
    PgForm form = decoder->form == FORM_ARRAY ? decoder->element : decoder->form;
    if (form != FORM_DECIMAL && form != FORM_NUMERIC_TEXT)
        return true;
    PgDecoder now = {0};
    Type type = {0};
    choose_numeric(typmod, &now, &type);
    return now.form == form && now.precision == decoder->precision && now.scale == decoder->scale;
}

/* --- text --- */

/* Length of the well-formed sequence at `at` (Unicode 15, table 3-7), 0 if it is none. */
static size_t utf8_sequence(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    if (first < 0x80)
        return 1;
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < length)
        return 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

/* A server whose encoding is SQL_ASCII sends what it was given: so every text is looked at. */
static bool is_utf8(const uint8_t *at, size_t bytes)
{
    size_t i = 0;
    for (; i + 8 <= bytes; i += 8) {
        uint64_t word;
        memcpy(&word, at + i, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            break;
    }
    while (i < bytes) {
        size_t length = utf8_sequence(at + i, bytes - i);
        if (!length)
            return false;
        i += length;
    }
    return true;
}

static const char *put_text(Batch *batch, Column *column, const uint8_t *text, uint32_t bytes)
{
    if (UNLIKELY(!is_utf8(text, bytes)))
        return "is not UTF-8";
    column_put_bytes(batch, column, text, bytes);
    return NULL;
}

/* --- numeric --- */

typedef struct Numeric {
    uint32_t groups;
    int32_t weight;
    uint16_t sign;
    uint32_t scale; /* digits to show after the point */
    const uint8_t *at;
} Numeric;

static const char *read_numeric(const uint8_t *value, uint32_t bytes, Numeric *ret)
{
    if (UNLIKELY(bytes < 8))
        return "is too short for a numeric";
    *ret = (Numeric){.groups = be16(value),
                     .weight = (int16_t)be16(value + 2),
                     .sign = be16(value + 4),
                     .scale = be16(value + 6),
                     .at = value + 8};
    if (UNLIKELY(bytes != 8 + 2 * ret->groups))
        return "has a length that is not its numeric's";
    if (UNLIKELY(ret->scale > 0x3fff))
        return "is a numeric with an impossible scale";
    return NULL;
}

static const char does_not_fit[] = "does not fit its decimal";

/* sum * by + plus, refused above 2^127 (10^38 is less). */
static bool multiply_add(unsigned __int128 *sum, uint32_t by, uint32_t plus)
{
    const unsigned __int128 most = ((unsigned __int128)1 << 127) - 10000;
    if (UNLIKELY(*sum > most / by))
        return false;
    *sum = *sum * by + plus;
    return true;
}

static const uint64_t powers[] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
};

static const char no_digit[] = "is a numeric with an impossible digit";

/* The usual case: up to four groups (16 digits), in 64 bits until the last step. `exponent` is that
 * of ten for the last group, seen from the wanted scale: -3 to 18. */
static const char *few_groups(const Numeric *numeric, uint32_t groups, int32_t exponent,
                              unsigned __int128 *ret)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < groups; i++) {
        uint16_t group = be16(numeric->at + 2 * i);
        if (UNLIKELY(group > 9999))
            return no_digit;
        sum = sum * 10000 + group;
    }
    if (exponent < 0) {
        if (UNLIKELY(sum % powers[-exponent]))
            return does_not_fit;
        *ret = sum / powers[-exponent];
    } else {
        *ret = (unsigned __int128)sum * powers[exponent];
    }
    return NULL;
}

/* Up to 11 groups: 38 digits can begin and end inside a group. */
static const char *many_groups(const Numeric *numeric, uint32_t groups, int32_t exponent,
                               unsigned __int128 *ret)
{
    uint32_t whole = exponent < 0 ? groups - 1 : groups;
    *ret = 0;
    for (uint32_t i = 0; i < whole; i++) {
        uint16_t group = be16(numeric->at + 2 * i);
        if (UNLIKELY(group > 9999))
            return no_digit;
        if (!multiply_add(ret, 10000, group))
            return does_not_fit;
    }
    if (exponent < 0) {
        uint16_t group = be16(numeric->at + 2 * whole);
        uint32_t cut = (uint32_t)powers[-exponent];
        if (group > 9999 || group % cut ||
            !multiply_add(ret, (uint32_t)powers[4 + exponent], group / cut))
            return does_not_fit;
    }
    for (; exponent > 0; exponent--)
        if (!multiply_add(ret, 10, 0))
            return does_not_fit;
    return NULL;
}

/* The unscaled value at 10^-scale. */
static const char *numeric_unscaled(const Numeric *numeric, unsigned scale, __int128 *ret)
{
    uint32_t groups = numeric->groups;
    int32_t exponent = 4 * (numeric->weight - (int32_t)groups + 1) + (int32_t)scale;
    while (exponent <= -4 && groups && be16(numeric->at + 2 * (groups - 1)) == 0) {
        groups--;
        exponent += 4;
    }
    *ret = 0;
    if (groups == 0)
        return NULL;
    if (UNLIKELY(exponent <= -4 || exponent > 38 || groups > 11))
        return does_not_fit;
    unsigned __int128 size;
    const char *why = groups <= 4 && exponent < (int32_t)ARRAY_LEN(powers)
                          ? few_groups(numeric, groups, exponent, &size)
                          : many_groups(numeric, groups, exponent, &size);
    if (UNLIKELY(why != NULL))
        return why;
    *ret = numeric->sign == SIGN_MINUS ? -(__int128)size : (__int128)size;
    return NULL;
}

static const char *put_decimal(const PgDecoder *decoder, Batch *batch, Column *column,
                               const uint8_t *value, uint32_t bytes)
{
    Numeric numeric;
    const char *why = read_numeric(value, bytes, &numeric);
    if (UNLIKELY(why != NULL))
        return why;
    if (UNLIKELY(numeric.sign != SIGN_PLUS && numeric.sign != SIGN_MINUS))
        return numeric.sign == SIGN_NAN ? "is NaN, which no decimal holds"
                                        : "is infinite, which no decimal holds";
    __int128 unscaled;
    why = numeric_unscaled(&numeric, decoder->scale, &unscaled);
    if (UNLIKELY(why != NULL))
        return why;
    __int128 size = unscaled < 0 ? -unscaled : unscaled;
    if (UNLIKELY(size >= decoder->limit))
        return does_not_fit;
    column_put_i128(batch, column, unscaled);
    return NULL;
}

/* The text PostgreSQL itself would print; NaN and the infinities as it names them. */
static const char *put_numeric_text(Batch *batch, Column *column, const uint8_t *value,
                                    uint32_t bytes)
{
    Numeric numeric;
    const char *why = read_numeric(value, bytes, &numeric);
    if (why)
        return why;
    const char *special = numeric.sign == SIGN_NAN    ? "NaN"
                          : numeric.sign == SIGN_INF  ? "Infinity"
                          : numeric.sign == SIGN_NINF ? "-Infinity"
                                                      : NULL;
    if (special) {
        column_put_bytes(batch, column, special, strlen(special));
        return NULL;
    }
    if (numeric.sign != SIGN_PLUS && numeric.sign != SIGN_MINUS)
        return "is a numeric with an impossible sign";
    size_t room = (size_t)(numeric.weight < 0 ? 1 : numeric.weight + 1) * 4 + numeric.scale + 8;
    char small[256];
    char *text = room <= sizeof small ? small : arena_take(batch->arena, room);
    char *to = text;
    if (numeric.sign == SIGN_MINUS)
        *to++ = '-';
    bool begun = false;
    for (int32_t at = 0; at <= numeric.weight; at++) {
        uint32_t group = at < (int32_t)numeric.groups ? be16(numeric.at + 2 * at) : 0;
        if (group > 9999)
            return no_digit;
        for (int digit = 3; digit >= 0; digit--) {
            char shown = (char)('0' + group / powers[digit] % 10);
            if (begun || shown != '0')
                *to++ = shown;
            begun = begun || shown != '0';
        }
    }
    if (!begun)
        *to++ = '0';
    if (numeric.scale)
        *to++ = '.';
    for (uint32_t digit = 0; digit < numeric.scale; digit++) {
        int32_t at = numeric.weight + 1 + (int32_t)(digit / 4);
        uint32_t group = at >= 0 && at < (int32_t)numeric.groups ? be16(numeric.at + 2 * at) : 0;
        if (group > 9999)
            return no_digit;
        *to++ = (char)('0' + group / powers[3 - digit % 4] % 10);
    }
    ASSERT((size_t)(to - text) <= room);
    column_put_bytes(batch, column, text, (size_t)(to - text));
    return NULL;
}

/* --- arrays --- */

static const char *put_array(const PgDecoder *decoder, Batch *batch, Column *column,
                             const uint8_t *value, uint32_t bytes)
{
    Reader in = reader_over(value, bytes);
    uint32_t dimensions, has_nulls, element_oid, size = 0, lower = 1;
    if (!reader_u32be(&in, &dimensions) || !reader_u32be(&in, &has_nulls) ||
        !reader_u32be(&in, &element_oid))
        return "is too short for an array";
    if (element_oid != decoder->element_oid)
        return "is an array of another type";
    if (dimensions > 1)
        return "is an array of more than one dimension, which Firn does not read yet";
    if (dimensions == 1 && (!reader_u32be(&in, &size) || !reader_u32be(&in, &lower)))
        return "is too short for an array";
    if (lower != 1)
        return "is an array whose lower bound is not 1, which Firn does not read yet";
    if (size > reader_left(&in) / 4)
        return "is an array longer than its bytes";
    PgDecoder element = *decoder;
    element.form = decoder->element;
    for (uint32_t i = 0; i < size; i++) {
        uint32_t length;
        const uint8_t *at;
        if (!reader_u32be(&in, &length))
            return "is an array longer than its bytes";
        column_element_room(batch, column->child);
        if (length == UINT32_MAX) {
            column_put_null(batch, column->child);
            continue;
        }
        if (!reader_take(&in, length, &at))
            return "is an array longer than its bytes";
        const char *why = decode_value(&element, batch, column->child, at, length);
        if (why)
            return why;
    }
    if (reader_left(&in))
        return "is an array shorter than its bytes";
    column_put_list(batch, column);
    return NULL;
}

/* --- the rest --- */

static const char *put_date(Batch *batch, Column *column, const uint8_t *value)
{
    int32_t days = (int32_t)be32(value);
    if (UNLIKELY(days == INT32_MAX || days == INT32_MIN))
        return "is an infinite date, which Iceberg has no value for";
    if (UNLIKELY(days > INT32_MAX - DAYS_1970_TO_2000))
        return "is a date out of Iceberg's range";
    column_put_i32(batch, column, days + DAYS_1970_TO_2000);
    return NULL;
}

static const char *put_timestamp(Batch *batch, Column *column, const uint8_t *value)
{
    int64_t us = (int64_t)be64(value);
    if (UNLIKELY(us == INT64_MAX || us == INT64_MIN))
        return "is an infinite timestamp, which Iceberg has no value for";
    if (UNLIKELY(us > INT64_MAX - US_1970_TO_2000))
        return "is a timestamp out of Iceberg's range (year 294246 and on)";
    column_put_i64(batch, column, us + US_1970_TO_2000);
    return NULL;
}

static const char wrong_length[] = "has a length that is not its type's";

const char *decode_value(const PgDecoder *decoder, Batch *batch, Column *column,
                         const uint8_t *value, uint32_t bytes)
{
    switch (decoder->form) {
    case FORM_INT4:
        if (UNLIKELY(bytes != 4))
            return wrong_length;
        column_put_i32(batch, column, (int32_t)be32(value));
        return NULL;
    case FORM_INT8:
        if (UNLIKELY(bytes != 8))
            return wrong_length;
        column_put_i64(batch, column, (int64_t)be64(value));
        return NULL;
    case FORM_TEXT:
        if (UNLIKELY(bytes > PG_VALUE_BYTES_MAX))
            return "is larger than 512 MiB";
        return put_text(batch, column, value, bytes);
    case FORM_DECIMAL:
        return put_decimal(decoder, batch, column, value, bytes);
    case FORM_TIMESTAMP:
        return UNLIKELY(bytes != 8) ? wrong_length : put_timestamp(batch, column, value);
    case FORM_INT2:
        if (UNLIKELY(bytes != 2))
            return wrong_length;
        column_put_i32(batch, column, (int16_t)be16(value));
        return NULL;
    case FORM_BOOL:
        if (UNLIKELY(bytes != 1 || value[0] > 1))
            return wrong_length;
        column_put_bool(batch, column, value[0]);
        return NULL;
    case FORM_FLOAT4: {
        if (UNLIKELY(bytes != 4))
            return wrong_length;
        column_put_i32(batch, column, (int32_t)be32(value)); /* the same bits */
        return NULL;
    }
    case FORM_FLOAT8:
        if (UNLIKELY(bytes != 8))
            return wrong_length;
        column_put_i64(batch, column, (int64_t)be64(value));
        return NULL;
    case FORM_DATE:
        return UNLIKELY(bytes != 4) ? wrong_length : put_date(batch, column, value);
    case FORM_TIME:
        if (UNLIKELY(bytes != 8))
            return wrong_length;
        if (UNLIKELY(be64(value) >= (uint64_t)US_PER_DAY))
            return "is 24:00:00 or no time of day, which Iceberg has no value for";
        column_put_i64(batch, column, (int64_t)be64(value));
        return NULL;
    case FORM_UUID:
        if (UNLIKELY(bytes != 16))
            return wrong_length;
        memcpy(column_put_fixed(batch, column), value, 16);
        return NULL;
    case FORM_BYTEA:
        if (UNLIKELY(bytes > PG_VALUE_BYTES_MAX))
            return "is larger than 512 MiB";
        column_put_bytes(batch, column, value, bytes);
        return NULL;
    case FORM_CHAR:
        if (UNLIKELY(bytes != 1))
            return wrong_length;
        return put_text(batch, column, value, value[0] ? 1 : 0);
    case FORM_JSONB:
        if (UNLIKELY(bytes < 1 || bytes > PG_VALUE_BYTES_MAX || value[0] != JSONB_VERSION))
            return "is jsonb of an unknown version";
        return put_text(batch, column, value + 1, bytes - 1);
    case FORM_NUMERIC_TEXT:
        return put_numeric_text(batch, column, value, bytes);
    case FORM_ARRAY:
        if (UNLIKELY(bytes > PG_VALUE_BYTES_MAX))
            return "is larger than 512 MiB";
        return put_array(decoder, batch, column, value, bytes);
    }
    ASSERT(false);
}

/* --- for messages --- */

void decode_describe(const PgDecoder *decoder, const Type *type, const uint8_t *value,
                     uint32_t bytes, char *to, size_t to_bytes)
{
    ASSERT(to_bytes > 0);
    to[0] = '\0';
    if (decoder->form == FORM_ARRAY || bytes > PG_VALUE_BYTES_MAX)
        return;
    Field field = {.name = (char[]){""}, .type = *type};
    Schema schema = {.fields = &field, .field_count = 1};
    AUTO(batch_free) Batch *batch = batch_new(&schema, 0, 1);
    Column *column = &batch->columns[0];
    batch_row_begin(batch, ROW_READ, (RowPosition){0});
    if (decode_value(decoder, batch, column, value, bytes)) {
        snprintf(to, to_bytes, "(unreadable)");
        return;
    }
    switch (type->kind) {
    case TYPE_STRING: {
        uint32_t length;
        const char *text = (const char *)column_bytes(column, 0, &length);
        snprintf(to, to_bytes, "'%.*s'", length > 60 ? 60 : (int)length, text);
        break;
    }
    case TYPE_BOOL:
        snprintf(to, to_bytes, "%s", bit_get(column->values, 0) ? "true" : "false");
        break;
    case TYPE_INT32:
    case TYPE_DATE:
        snprintf(to, to_bytes, "%" PRId32, column_i32(column, 0));
        break;
    default: {
        if (column->width == 8 && type->kind == TYPE_INT64) {
            snprintf(to, to_bytes, "%" PRId64, column_i64(column, 0));
            break;
        }
        size_t used = 0;
        for (uint32_t i = 0; i < bytes && i < 24 && used + 3 < to_bytes; i++)
            used +=
                (size_t)snprintf(to + used, to_bytes - used, "%s%02x", i ? "" : "\\x", value[i]);
    }
    }
}

/* Rows and values over the leaves (leaf_*) of the file that includes this: json.c, avro.c. A
 * value's conversion stands here once, so that both formats say the same. No include guard: it is
 * code. Functions that put a value return NULL, or the reason it can't be written. */

static const char not_a_decimal[] =
    "is no finite number, which decimal.handling.mode precise needs";
static const char not_of_its_type[] = "is not of its type";
static const char null_where_required[] = "is null, and must not be";

static const char *put_value(const ConnectSchema *schema, const Column *column, uint32_t row,
                             ValueScratch *scratch, Bytes *to);

static inline __int128 decimal_at(const Column *column, uint32_t row)
{
    __int128 value;
    memcpy(&value, column->values + (size_t)row * 16, sizeof value);
    return value;
}

static inline int64_t integer_at(const Column *column, uint32_t row)
{
    return column->width == 4 ? column_i32(column, row) : column_i64(column, row);
}

static inline double real_at(const Column *column, uint32_t row)
{
    if (column->width == 4) {
        float value;
        memcpy(&value, column->values + (size_t)row * 4, sizeof value);
        return (double)value;
    }
    double value;
    memcpy(&value, column->values + (size_t)row * 8, sizeof value);
    return value;
}

/* --- what lies inside --- */

static const char *put_optional(const ConnectSchema *schema, const Column *column, uint32_t row,
                                ValueScratch *scratch, Bytes *to)
{
    if (column_is_null(column, row)) {
        if (!schema->optional)
            return null_where_required;
        leaf_null(schema, to);
        return NULL;
    }
    leaf_there(schema, to);
    return put_value(schema, column, row, scratch, to);
}

static const char *put_elements(const ConnectSchema *schema, const Column *column, uint32_t row,
                                ValueScratch *scratch, Bytes *to)
{
    uint32_t from = (uint32_t)column->offsets[row], end = (uint32_t)column->offsets[row + 1];
    leaf_list_begin(to, end - from);
    for (uint32_t i = from; i < end; i++) {
        leaf_list_next(to, i - from);
        const char *why = put_optional(&schema->children[0], column->child, i, scratch, to);
        if (why)
            return why;
    }
    leaf_list_end(to, end - from);
    return NULL;
}

static const char *put_attributes(const ConnectSchema *schema, const Column *column, uint32_t row,
                                  ValueScratch *scratch, Bytes *to)
{
    for (uint32_t i = 0; i < schema->child_count; i++) {
        const ConnectSchema *child = &schema->children[i];
        leaf_field(child, i, to);
        const char *why = put_optional(child, &column->child[child->column], row, scratch, to);
        if (why)
            return why;
    }
    leaf_struct_end(schema->child_count, to);
    return NULL;
}

static const char *put_pairs(const ConnectSchema *schema, const Column *column, uint32_t row,
                             Bytes *to)
{
    const Column *keys = &column->child[0], *values = &column->child[1];
    uint32_t from = (uint32_t)column->offsets[row], end = (uint32_t)column->offsets[row + 1];
    leaf_pairs_begin(to, end - from);
    for (uint32_t i = from; i < end; i++) {
        uint32_t bytes;
        const uint8_t *at = column_bytes(keys, i, &bytes);
        leaf_pair(to, i - from, at, bytes);
        if (column_is_null(values, i)) {
            leaf_null(&schema->children[1], to);
            continue;
        }
        at = column_bytes(values, i, &bytes);
        leaf_there(&schema->children[1], to);
        leaf_text(to, at, bytes);
    }
    leaf_pairs_end(to, end - from);
    return NULL;
}

/* An hstore as the text of a JSON object. */
static void put_pairs_text(const Column *column, uint32_t row, ValueScratch *scratch, Bytes *to)
{
    Bytes *text = &scratch->a;
    bytes_clear(text);
    bytes_put_u8(text, '{');
    for (uint32_t i = (uint32_t)column->offsets[row]; i < (uint32_t)column->offsets[row + 1]; i++) {
        uint32_t bytes;
        const uint8_t *at = column_bytes(&column->child[0], i, &bytes);
        if (text->used > 1)
            bytes_put_u8(text, ',');
        scalar_json_string(text, at, bytes);
        bytes_put_u8(text, ':');
        at = column_bytes(&column->child[1], i, &bytes);
        if (column_is_null(&column->child[1], i))
            bytes_put(text, "null", 4);
        else
            scalar_json_string(text, at, bytes);
    }
    bytes_put_u8(text, '}');
    leaf_text(to, text->data, text->used);
}

/* --- values that are text in the batch --- */

static const char *put_numeric(const ConnectSchema *schema, const char *text, uint32_t bytes,
                               ValueScratch *scratch, Bytes *to)
{
    bool variable = schema->form == AS_NUMERIC_VARIABLE;
    int32_t scale;
    bytes_clear(&scratch->b);
    if (!numeric_unscaled_text(text, bytes, variable ? -1 : schema->scale, &scratch->a, &scratch->b,
                               &scale))
        return not_a_decimal;
    if (!variable) {
        leaf_bytes(to, scratch->b.data, scratch->b.used);
        return NULL;
    }
    leaf_field(&schema->children[0], 0, to);
    leaf_integer(to, scale);
    leaf_field(&schema->children[1], 1, to);
    leaf_bytes(to, scratch->b.data, scratch->b.used);
    leaf_struct_end(2, to);
    return NULL;
}

static const char *put_real_text(const char *text, uint32_t bytes, ValueScratch *scratch, Bytes *to)
{
    bytes_clear(&scratch->a);
    bytes_put(&scratch->a, text, bytes);
    bytes_put_u8(&scratch->a, 0);
    char *end;
    double value = strtod((const char *)scratch->a.data, &end);
    if (end != (const char *)scratch->a.data + bytes)
        return not_of_its_type;
    leaf_real(to, value, false);
    return NULL;
}

static const char *put_interval(const ConnectSchema *schema, const char *text, uint32_t bytes,
                                ValueScratch *scratch, Bytes *to)
{
    Interval interval;
    if (!parse_interval(text, bytes, &interval)) {
        bool endless = bytes >= 8 && memcmp(text + bytes - 8, "infinity", 8) == 0;
        if (!endless)
            return not_of_its_type;
        if (schema->form == AS_INTERVAL_TEXT)
            leaf_text(to, text, bytes);
        else
            leaf_integer(to, text[0] == '-' ? INT64_MIN : INT64_MAX);
        return NULL;
    }
    if (schema->form == AS_INTERVAL_MICROS) {
        leaf_integer(to, interval_micros(&interval));
        return NULL;
    }
    bytes_clear(&scratch->a);
    interval_put_iso(&interval, &scratch->a);
    leaf_ascii(to, scratch->a.data, scratch->a.used);
    return NULL;
}

static const char *put_point(const ConnectSchema *schema, const char *text, uint32_t bytes,
                             Bytes *to)
{
    double point[2];
    if (!parse_point(text, bytes, &point[0], &point[1]))
        return not_of_its_type;
    uint8_t wkb[21] = {1, 1}; /* little-endian, a point */
    memcpy(wkb + 5, point, sizeof point);
    leaf_field(&schema->children[0], 0, to);
    leaf_real(to, point[0], false);
    leaf_field(&schema->children[1], 1, to);
    leaf_real(to, point[1], false);
    leaf_field(&schema->children[2], 2, to);
    leaf_there(&schema->children[2], to);
    leaf_bytes(to, wkb, sizeof wkb);
    leaf_field(&schema->children[3], 3, to);
    leaf_null(&schema->children[3], to);
    leaf_struct_end(4, to);
    return NULL;
}

static void put_geometry(const ConnectSchema *schema, const uint8_t *ewkb, uint32_t bytes,
                         Bytes *to)
{
    int32_t srid;
    leaf_field(&schema->children[0], 0, to);
    leaf_bytes(to, ewkb, bytes);
    leaf_field(&schema->children[1], 1, to);
    if (parse_srid(ewkb, bytes, &srid)) {
        leaf_there(&schema->children[1], to);
        leaf_integer(to, srid);
    } else {
        leaf_null(&schema->children[1], to);
    }
    leaf_struct_end(2, to);
}

/* A part of a struct that may be null. */
static void put_srid(const ConnectSchema *field, uint32_t index, int32_t srid, Bytes *to)
{
    leaf_field(field, index, to);
    if (!srid) {
        leaf_null(field, to);
        return;
    }
    leaf_there(field, to);
    leaf_integer(to, srid);
}

static const char *put_mysql_geometry(const ConnectSchema *schema, const uint8_t *at,
                                      uint32_t bytes, Bytes *to)
{
    int32_t srid;
    bool is_point = schema->form == AS_MYSQL_POINT;
    uint32_t index = 0;
    if (bytes < sizeof srid + 5 || (is_point && (bytes != sizeof srid + 21 || at[4] != 1)))
        return not_of_its_type;
    memcpy(&srid, at, sizeof srid);
    for (; is_point && index < 2; index++) {
        double coordinate;
        memcpy(&coordinate, at + sizeof srid + 5 + index * sizeof coordinate, sizeof coordinate);
        leaf_field(&schema->children[index], index, to);
        leaf_real(to, coordinate, false);
    }
    leaf_field(&schema->children[index], index, to);
    if (is_point)
        leaf_there(&schema->children[index], to);
    leaf_bytes(to, at + sizeof srid, bytes - (uint32_t)sizeof srid);
    put_srid(&schema->children[index + 1], index + 1, srid, to);
    leaf_struct_end(schema->child_count, to);
    return NULL;
}

/* Those of TYPE_STRING and TYPE_BINARY that are neither text nor bytes. */
static const char *put_converted(const ConnectSchema *schema, const uint8_t *at, uint32_t bytes,
                                 ValueScratch *scratch, Bytes *to)
{
    const char *text = (const char *)at;
    Bytes *made = &scratch->a;
    bytes_clear(made);
    bytes_reserve(made, 1); /* so that nothing is not NULL */
    switch (schema->form) {
    case AS_NUMERIC_BYTES:
    case AS_NUMERIC_VARIABLE:
        return put_numeric(schema, text, bytes, scratch, to);
    case AS_NUMERIC_DOUBLE:
        return put_real_text(text, bytes, scratch, to);
    case AS_INTERVAL_MICROS:
    case AS_INTERVAL_TEXT:
        return put_interval(schema, text, bytes, scratch, to);
    case AS_POINT:
        return put_point(schema, text, bytes, to);
    case AS_GEOMETRY:
        put_geometry(schema, at, bytes, to);
        return NULL;
    case AS_MYSQL_POINT:
    case AS_MYSQL_GEOMETRY:
        return put_mysql_geometry(schema, at, bytes, to);
    case AS_ZONED_TIME:
        if (!parse_zoned_time(text, bytes, made))
            return not_of_its_type;
        leaf_ascii(to, made->data, made->used);
        return NULL;
    case AS_BIT:
        leaf_boolean(to, bytes && text[bytes - 1] == '1');
        return NULL;
    case AS_BITS:
        parse_bits(text, bytes, made);
        while (made->used < schema->digits)
            bytes_put_u8(made, 0);
        leaf_bytes(to, made->data, made->used);
        return NULL;
    case AS_BINARY_HEX:
        scalar_hex(made, at, bytes);
        leaf_ascii(to, made->data, made->used);
        return NULL;
    case AS_BINARY_BASE64:
    case AS_BINARY_BASE64_URL:
        scalar_base64(made, at, bytes, schema->form == AS_BINARY_BASE64_URL);
        leaf_ascii(to, made->data, made->used);
        return NULL;
    default:
        return not_of_its_type;
    }
}

/* --- a value that is there --- */

static const char *put_decimal(const ConnectSchema *schema, __int128 value, ValueScratch *scratch,
                               Bytes *to)
{
    if (UNLIKELY(schema->form == AS_DECIMAL_LONG)) {
        if (value > INT64_MAX)
            return "is more than a long holds, which bigint.unsigned.handling.mode long needs";
        leaf_integer(to, (int64_t)value);
        return NULL;
    }
    if (LIKELY(schema->form == AS_DECIMAL_BYTES)) {
        uint8_t bytes[NUMERIC_I128_BYTES];
        leaf_bytes(to, bytes, numeric_i128(bytes, value));
        return NULL;
    }
    char text[NUMERIC_TEXT_BYTES];
    unsigned bytes = numeric_text(text, value, (unsigned)schema->scale);
    if (schema->form == AS_DECIMAL_DOUBLE)
        return put_real_text(text, bytes, scratch, to);
    leaf_ascii(to, text, bytes);
    return NULL;
}

static const char *put_value(const ConnectSchema *schema, const Column *column, uint32_t row,
                             ValueScratch *scratch, Bytes *to)
{
    uint32_t bytes;
    const uint8_t *at;
    char text[SCALAR_TIMESTAMP_BYTES];
    switch (schema->form) {
    case AS_BOOLEAN:
        leaf_boolean(to, bit_get(column->values, row));
        return NULL;
    case AS_INTEGER:
        leaf_integer(to, integer_at(column, row));
        return NULL;
    case AS_REAL:
        leaf_real(to, real_at(column, row), schema->kind == CONNECT_FLOAT);
        return NULL;
    case AS_TEXT:
        at = column_bytes(column, row, &bytes);
        leaf_text(to, at, bytes);
        return NULL;
    case AS_BINARY:
        if (column->width) {
            leaf_bytes(to, column->values + (size_t)row * column->width, column->width);
            return NULL;
        }
        at = column_bytes(column, row, &bytes);
        leaf_bytes(to, at, bytes);
        return NULL;
    case AS_UUID_TEXT:
        scalar_uuid(text, column->values + (size_t)row * 16);
        leaf_ascii(to, text, 36);
        return NULL;
    case AS_DECIMAL_BYTES:
    case AS_DECIMAL_DOUBLE:
    case AS_DECIMAL_TEXT:
    case AS_DECIMAL_LONG:
        return put_decimal(schema, decimal_at(column, row), scratch, to);
    case AS_MICROS: {
        int64_t micros = column_i64(column, row);
        leaf_integer(to, schema->divisor == 1 ? micros : scalar_floor(micros, schema->divisor));
        return NULL;
    }
    case AS_ZONED_TIMESTAMP:
        leaf_ascii(to, text, scalar_timestamp(text, column_i64(column, row), schema->digits));
        return NULL;
    case AS_PAIRS_TEXT:
        put_pairs_text(column, row, scratch, to);
        return NULL;
    case AS_PAIRS:
        return put_pairs(schema, column, row, to);
    case AS_ELEMENTS:
        return put_elements(schema, column, row, scratch, to);
    case AS_ATTRIBUTES:
        return put_attributes(schema, column, row, scratch, to);
    default:
        at = column_bytes(column, row, &bytes);
        return put_converted(schema, at, bytes, scratch, to);
    }
}

/* --- rows --- */

static bool put_row(const ConnectSchema *schema, const Batch *batch, uint32_t row, RowPart part,
                    const bool *is_key, ValueScratch *scratch, Bytes *to, ValueProblem *ret)
{
    for (uint32_t i = 0; i < schema->child_count; i++) {
        const ConnectSchema *field = &schema->children[i];
        const Column *column = &batch->columns[field->column];
        leaf_prefix(field, to);
        if (UNLIKELY(part == ROW_OLD_KEY && !is_key[field->column])) {
            bytes_put(to, field->absent.at, field->absent.bytes);
            continue;
        }
        if (UNLIKELY(column_is_null(column, row))) {
            const Piece *piece =
                column_is_unchanged(column, row) ? &field->unavailable : &field->null;
            if (UNLIKELY(!piece->bytes)) {
                *ret = (ValueProblem){field, "BadValue", null_where_required};
                return false;
            }
            bytes_put(to, piece->at, piece->bytes);
            continue;
        }
        leaf_there(field, to);
        const char *why = put_value(field, column, row, scratch, to);
        if (UNLIKELY(why != NULL)) {
            *ret = (ValueProblem){field, why == not_a_decimal ? "NoDecimal" : "BadValue", why};
            return false;
        }
    }
    leaf_struct_end(schema->child_count, to);
    return true;
}

/* --- literals --- */

static void put_literal(const ConnectSchema *schema, const Literal *literal, Bytes *to)
{
    if (literal->none) {
        leaf_null(schema, to);
        return;
    }
    leaf_there(schema, to);
    switch (schema->kind) {
    case CONNECT_INT16:
    case CONNECT_INT32:
    case CONNECT_INT64:
        leaf_integer(to, literal->integer);
        break;
    case CONNECT_FLOAT:
    case CONNECT_DOUBLE:
        leaf_real(to, literal->real, schema->kind == CONNECT_FLOAT);
        break;
    case CONNECT_BOOLEAN:
        leaf_boolean(to, literal->integer != 0);
        break;
    case CONNECT_STRING:
        leaf_text(to, literal->bytes.at, literal->bytes.bytes);
        break;
    case CONNECT_BYTES:
        leaf_bytes(to, literal->bytes.at, literal->bytes.bytes);
        break;
    case CONNECT_ARRAY:
        leaf_list_begin(to, literal->item_count);
        for (uint32_t i = 0; i < literal->item_count; i++) {
            leaf_list_next(to, i);
            put_literal(&schema->children[0], &literal->items[i], to);
        }
        leaf_list_end(to, literal->item_count);
        break;
    case CONNECT_MAP:
        leaf_pairs_begin(to, literal->item_count / 2);
        for (uint32_t i = 0; i + 1 < literal->item_count; i += 2) {
            leaf_pair(to, i / 2, literal->items[i].bytes.at, literal->items[i].bytes.bytes);
            put_literal(&schema->children[1], &literal->items[i + 1], to);
        }
        leaf_pairs_end(to, literal->item_count / 2);
        break;
    case CONNECT_STRUCT:
        for (uint32_t i = 0; i < schema->child_count; i++) {
            leaf_field(&schema->children[i], i, to);
            put_literal(&schema->children[i], &literal->items[i], to);
        }
        leaf_struct_end(schema->child_count, to);
        break;
    }
}

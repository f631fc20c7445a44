#include "agent/table/keys.h"

#include <sys/random.h>
#include <xxhash.h>

#include "common/mem.h"

/* Bijective on 64 bits: xor shifts and odd multipliers. */
static inline uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

static bool fits_8_bytes(TypeKind kind)
{
    switch (kind) {
    case TYPE_BOOL:
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DATE:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return true;
    default:
        return false;
    }
}

bool key_hasher_init(KeyHasher *hasher, const Schema *schema, const uint32_t *columns, size_t count,
                     Error *err)
{
    *hasher = (KeyHasher){.count = count};
    ASSERT(count > 0);
    for (size_t i = 0; i < count; i++) {
        const Field *field = &schema->fields[columns[i]];
        TypeKind kind = field->type.kind;
        char name[TYPE_NAME_BYTES];
        if (kind == TYPE_FLOAT32 || kind == TYPE_FLOAT64 || kind >= TYPE_LIST)
            return error_set(err, ERROR_CONFIG, "BadKey",
                             "column %s of type %s can't be part of a key; name other columns in "
                             "idColumns, or use mode Append",
                             field->name, type_format(&field->type, name));
    }
    hasher->columns = mem_array(count, sizeof *hasher->columns);
    key_hasher_move(hasher, schema, columns);
    hasher->wide = count > 1 || !fits_8_bytes(schema->fields[columns[0]].type.kind);
    ssize_t got = getrandom(&hasher->seed, sizeof hasher->seed, 0);
    ASSERT(got == sizeof hasher->seed);
    return true;
}

void key_hasher_move(KeyHasher *hasher, const Schema *schema, const uint32_t *columns)
{
    hasher->schema = schema;
    memcpy(hasher->columns, columns, hasher->count * sizeof *columns);
}

void key_hasher_seed(KeyHasher *hasher, uint64_t seed)
{
    ASSERT(!hasher->rows_held);
    hasher->seed = seed;
}

void key_hasher_done(KeyHasher *hasher)
{
    free(hasher->columns);
    free(hasher->first);
    free(hasher->second);
    bytes_done(&hasher->scratch);
    *hasher = (KeyHasher){0};
}

static inline int64_t integer_at(const Column *column, uint32_t row)
{
    if (column->width == 4)
        return column_i32(column, row);
    return column->width ? column_i64(column, row) : bit_get(column->values, row);
}

static void hash_integers(KeyHasher *hasher, const Column *column, uint32_t from, uint32_t to)
{
    uint64_t seed = hasher->seed, *key = hasher->first;
    if (column->width == 8)
        for (uint32_t row = from; row < to; row++)
            *key++ = mix((uint64_t)column_i64(column, row) ^ seed);
    else
        for (uint32_t row = from; row < to; row++)
            *key++ = mix((uint64_t)integer_at(column, row) ^ seed);
}

static inline void encode_value(Bytes *to, const Column *column, uint32_t row)
{
    TypeKind kind = column->field->type.kind;
    const uint8_t *from;
    uint32_t bytes = 8;
    int64_t integer;
    if (fits_8_bytes(kind)) {
        integer = integer_at(column, row);
        from = (const uint8_t *)&integer;
        if (kind == TYPE_INT32)
            kind = TYPE_INT64;
    } else if (column->width) {
        bytes = column->width;
        from = column->values + (size_t)row * bytes;
    } else {
        from = column_bytes(column, row, &bytes);
    }
    bytes_reserve(to, bytes + 5);
    to->data[to->used] = (uint8_t)kind;
    memcpy(to->data + to->used + 1, &bytes, 4);
    memcpy(to->data + to->used + 5, from, bytes);
    to->used += 5 + bytes;
}

static void hash_encoded(KeyHasher *hasher, const Batch *batch, uint32_t from, uint32_t to)
{
    Bytes *scratch = &hasher->scratch;
    for (uint32_t row = from; row < to; row++) {
        bytes_clear(scratch);
        for (size_t i = 0; i < hasher->count; i++)
            encode_value(scratch, &batch->columns[hasher->columns[i]], row);
        XXH128_hash_t hash = XXH3_128bits_withSeed(scratch->data, scratch->used, hasher->seed);
        hasher->first[row - from] = hash.high64;
        hasher->second[row - from] = hash.low64;
    }
}

bool key_hasher_batch(KeyHasher *hasher, const Batch *batch, uint32_t from, IndexKeys *ret,
                      Error *err)
{
    uint32_t to = batch->row_count;
    ASSERT(from <= to);
    if (to - from > hasher->rows_held) {
        hasher->rows_held = to - from;
        hasher->first = mem_regrow(hasher->first, hasher->rows_held, sizeof *hasher->first);
        if (hasher->wide)
            hasher->second = mem_regrow(hasher->second, hasher->rows_held, sizeof *hasher->second);
    }
    for (size_t i = 0; i < hasher->count; i++) {
        const Column *column = &batch->columns[hasher->columns[i]];
        for (uint32_t row = from; column->null_count && row < to; row++)
            if (column_is_null(column, row))
                return error_set(err, ERROR_DATA, "NullKey",
                                 "key column %s is null in a row; a key has no nulls: name other "
                                 "columns in idColumns",
                                 hasher->schema->fields[hasher->columns[i]].name);
    }
    if (hasher->wide)
        hash_encoded(hasher, batch, from, to);
    else
        hash_integers(hasher, &batch->columns[hasher->columns[0]], from, to);
    *ret = (IndexKeys){
        .first = hasher->first, .second = hasher->wide ? hasher->second : NULL, .count = to - from};
    return true;
}

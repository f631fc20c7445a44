#include "agent/table/route.h"

#include <string.h>
#include <xxhash.h>

#include "common/mem.h"

#define MEMO_SIZE 1024

/* Transforming a text means allocating; most texts of partition columns come again and again. */
typedef struct RouteMemo {
    XXH128_hash_t from;
    XXH128_hash_t to;
    uint32_t field; /* 1-based; 0: free */
} RouteMemo;

void router_init(Router *router, const PartitionSpec *spec)
{
    *router = (Router){.spec = spec};
}

void router_clear(Router *router)
{
    for (size_t i = 0; i < router->partition_count; i++) {
        Partition *partition = &router->partitions[i];
        for (size_t field = 0; field < router->spec->field_count; field++)
            value_done(&partition->values[field]);
        free(partition->values);
        free(partition->path);
    }
    free(router->table);
    router->table = NULL;
    router->table_size = router->partition_count = 0;
}

void router_done(Router *router)
{
    router_clear(router);
    free(router->partitions);
    free(router->memo);
    free(router->hashes);
    free(router->numbers);
    *router = (Router){0};
}

static XXH128_hash_t value_hash(const Value *value)
{
    if (value->is_null)
        return XXH3_128bits("null", 4);
    switch (value->type.kind) {
    case TYPE_BOOL:
        return XXH3_128bits(&value->b, 1);
    case TYPE_INT32:
    case TYPE_DATE:
    case TYPE_FLOAT32:
        return XXH3_128bits(&value->i32, 4);
    case TYPE_INT64:
    case TYPE_TIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
    case TYPE_FLOAT64:
        return XXH3_128bits(&value->i64, 8);
    case TYPE_DECIMAL:
        return XXH3_128bits(&value->i128, 16);
    case TYPE_UUID:
        return XXH3_128bits(value->uuid, 16);
    case TYPE_STRING:
    case TYPE_BINARY:
    case TYPE_FIXED:
        /* The seed keeps an empty text and "null" apart from null. */
        return XXH3_128bits_withSeed(value->bytes, value->byte_count, 1);
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRUCT:
        break;
    }
    ASSERT(false);
}

static XXH128_hash_t row_hash(Router *router, uint32_t field, const Column *column, uint32_t row)
{
    const PartitionField *by = &router->spec->fields[field];
    RouteMemo *memo = NULL;
    XXH128_hash_t from = {0};
    if (column->offsets && !column_is_null(column, row)) {
        uint32_t bytes;
        const uint8_t *text = column_bytes(column, row, &bytes);
        from = XXH3_128bits(text, bytes);
        if (!router->memo)
            router->memo = mem_array(MEMO_SIZE, sizeof *router->memo);
        memo = &router->memo[from.low64 % MEMO_SIZE];
        if (memo->field == field + 1 && XXH128_isEqual(memo->from, from))
            return memo->to;
    }
    Value value;
    partition_value(by, column, row, &value);
    XXH128_hash_t hash = value_hash(&value);
    value_done(&value);
    if (memo)
        *memo = (RouteMemo){.from = from, .to = hash, .field = field + 1};
    return hash;
}

static void partition_add(Router *router, const Column *const *columns, uint32_t row,
                          const uint64_t hash[2])
{
    if (router->partition_count == router->partitions_held) {
        router->partitions_held = router->partitions_held ? router->partitions_held * 2 : 8;
        router->partitions =
            mem_regrow(router->partitions, router->partitions_held, sizeof *router->partitions);
    }
    Partition *partition = &router->partitions[router->partition_count++];
    const PartitionSpec *spec = router->spec;
    *partition = (Partition){.hash = {hash[0], hash[1]}, .open = UINT32_MAX};
    partition->values = mem_array(spec->field_count, sizeof *partition->values);
    for (size_t i = 0; i < spec->field_count; i++)
        partition_value(&spec->fields[i], columns[spec->fields[i].source], row,
                        &partition->values[i]);
    partition->path = spec->field_count ? partition_path(spec, partition->values) : mem_strdup("");
}

static void table_grow(Router *router)
{
    free(router->table);
    router->table_size = router->table_size ? router->table_size * 2 : 64;
    router->table = mem_array(router->table_size, sizeof *router->table);
    for (size_t i = 0; i < router->partition_count; i++) {
        size_t at = router->partitions[i].hash[0] & (router->table_size - 1);
        while (router->table[at])
            at = (at + 1) & (router->table_size - 1);
        router->table[at] = (uint32_t)i + 1;
    }
}

static uint32_t partition_of(Router *router, const Column *const *columns, uint32_t row,
                             const uint64_t hash[2])
{
    if ((router->partition_count + 1) * 2 > router->table_size)
        table_grow(router);
    size_t at = hash[0] & (router->table_size - 1);
    while (router->table[at]) {
        uint32_t number = router->table[at] - 1;
        const Partition *partition = &router->partitions[number];
        if (partition->hash[0] == hash[0] && partition->hash[1] == hash[1])
            return number;
        at = (at + 1) & (router->table_size - 1);
    }
    partition_add(router, columns, row, hash);
    router->table[at] = (uint32_t)router->partition_count;
    return (uint32_t)router->partition_count - 1;
}

void router_route(Router *router, const Column *const *columns, const uint32_t *selection,
                  size_t count)
{
    if (count > router->rows_held) {
        router->rows_held = count;
        router->numbers = mem_regrow(router->numbers, count, sizeof *router->numbers);
        router->hashes = mem_regrow(router->hashes, count, sizeof *router->hashes);
    }
    memset(router->hashes, 0, count * sizeof *router->hashes);
    for (uint32_t field = 0; field < router->spec->field_count; field++) {
        const Column *column = columns[router->spec->fields[field].source];
        for (size_t i = 0; i < count; i++) {
            XXH128_hash_t hash = row_hash(router, field, column, selection[i]);
            router->hashes[i][0] = router->hashes[i][0] * 0x9e3779b97f4a7c15u + hash.low64;
            router->hashes[i][1] = router->hashes[i][1] * 0xd6e8feb86659fd93u + hash.high64;
        }
    }
    for (size_t i = 0; i < count; i++)
        if (i && router->hashes[i][0] == router->hashes[i - 1][0] &&
            router->hashes[i][1] == router->hashes[i - 1][1])
            router->numbers[i] = router->numbers[i - 1];
        else
            router->numbers[i] = partition_of(router, columns, selection[i], router->hashes[i]);
}

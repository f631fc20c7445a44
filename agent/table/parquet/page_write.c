#include "agent/table/parquet/page_write.h"

#include "agent/table/parquet/encode.h"
#include "agent/table/parquet/thrift.h"

/* Turns the page's numbers back to values; the column goes on without a dictionary. */
void page_drop_dictionary(ColumnWriter *writer)
{
    const uint32_t *numbers = (const uint32_t *)(const void *)writer->numbers.data;
    for (uint32_t i = 0; i < writer->values; i++) {
        uint32_t bytes;
        const uint8_t *value = dictionary_bytes(&writer->dictionary, numbers[i], &bytes);
        bytes_put(&writer->dense, value, bytes);
        if (is_bytes(&writer->leaf))
            bytes_put_u32(&writer->lengths, bytes);
    }
    bytes_clear(&writer->numbers);
    dictionary_done(&writer->dictionary);
    dictionary_init(&writer->dictionary, writer->leaf.width);
    writer->state = DICTIONARY_OFF;
}

/* Eight bytes at a time: texts of a column often begin alike, and are too short for a call. */
static inline int compare_bytes(const uint8_t *a, uint32_t a_bytes, const uint8_t *b,
                                uint32_t b_bytes)
{
    uint32_t common = a_bytes < b_bytes ? a_bytes : b_bytes;
    uint32_t at = 0;
    for (; at + 8 <= common; at += 8) {
        uint64_t left, right;
        memcpy(&left, a + at, 8);
        memcpy(&right, b + at, 8);
        if (left != right)
            return __builtin_bswap64(left) < __builtin_bswap64(right) ? -1 : 1;
    }
    for (; at < common; at++)
        if (a[at] != b[at])
            return a[at] < b[at] ? -1 : 1;
    return (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

typedef struct ByteEnds {
    const uint8_t *min, *max;
    uint32_t min_bytes, max_bytes;
} ByteEnds;

static inline void ends_add(ByteEnds *ends, const uint8_t *value, uint32_t bytes)
{
    if (!ends->min || compare_bytes(value, bytes, ends->min, ends->min_bytes) < 0) {
        ends->min = value;
        ends->min_bytes = bytes;
    }
    if (!ends->max || compare_bytes(value, bytes, ends->max, ends->max_bytes) > 0) {
        ends->max = value;
        ends->max_bytes = bytes;
    }
}

static void ends_of_numbers(ColumnWriter *writer, ByteEnds *ends)
{
    uint32_t count = writer->dictionary.count;
    if (count > writer->stamps_held) {
        writer->stamps = mem_regrow(writer->stamps, count, sizeof *writer->stamps);
        memset(writer->stamps + writer->stamps_held, 0,
               (count - writer->stamps_held) * sizeof *writer->stamps);
        writer->stamps_held = count;
    }
    writer->stamp++;
    const uint32_t *numbers = (const uint32_t *)(const void *)writer->numbers.data;
    for (uint32_t i = 0; i < writer->values; i++) {
        if (writer->stamps[numbers[i]] == writer->stamp)
            continue;
        writer->stamps[numbers[i]] = writer->stamp;
        uint32_t bytes;
        const uint8_t *value = dictionary_bytes(&writer->dictionary, numbers[i], &bytes);
        ends_add(ends, value, bytes);
    }
}

static void range_bytes(ColumnWriter *writer)
{
    static const uint8_t nothing[1];
    ByteEnds ends = {0};
    if (!writer->values)
        return;
    if (uses_dictionary(writer)) {
        ends_of_numbers(writer, &ends);
    } else {
        const uint8_t *value = writer->dense.data ? writer->dense.data : nothing;
        const int32_t *lengths = (const int32_t *)(const void *)writer->lengths.data;
        for (uint32_t i = 0; i < writer->values; i++) {
            uint32_t bytes = is_bytes(&writer->leaf) ? (uint32_t)lengths[i] : writer->leaf.width;
            ends_add(&ends, value, bytes);
            value += bytes;
        }
    }
    range_add_bytes(&writer->range, ends.min, ends.min_bytes, ends.max, ends.max_bytes);
}

static void encode_plain_strings(const ColumnWriter *writer, Bytes *to)
{
    const uint8_t *value = writer->dense.data;
    const int32_t *lengths = (const int32_t *)(const void *)writer->lengths.data;
    for (uint32_t i = 0; i < writer->values; i++) {
        bytes_put_u32(to, (uint32_t)lengths[i]);
        bytes_put(to, value, (size_t)lengths[i]);
        value += lengths[i];
    }
}

/* What is staged goes behind what the page has so far. Of much it is the page that moves: the
 * buffers change places. */
static void put_dense(ColumnWriter *writer, Bytes *to)
{
    Bytes *dense = &writer->dense;
    if (to != &writer->workshop->body || dense->used <= kept_bytes(writer->workshop)) {
        bytes_put(to, dense->data, dense->used);
        return;
    }
    size_t before = to->used;
    bytes_reserve(dense, before);
    memmove(dense->data + before, dense->data, dense->used);
    memcpy(dense->data, to->data, before);
    dense->used += before;
    Bytes page = *dense;
    *dense = *to;
    *to = page;
}

static Encoding encode_direct(ColumnWriter *writer, Bytes *to)
{
    const Leaf *leaf = &writer->leaf;
    const void *values = writer->dense.data;
    size_t count = writer->values;
    switch (leaf->physical) {
    case PHYSICAL_BOOLEAN:
        encode_bools(to, values, count);
        return ENCODING_PLAIN;
    case PHYSICAL_INT32:
        encode_delta_i32(to, values, count);
        return ENCODING_DELTA_BINARY_PACKED;
    case PHYSICAL_INT64:
        encode_delta_i64(to, values, count);
        return ENCODING_DELTA_BINARY_PACKED;
    case PHYSICAL_FLOAT:
    case PHYSICAL_DOUBLE:
        encode_split(to, values, count, leaf->width);
        return ENCODING_BYTE_STREAM_SPLIT;
    case PHYSICAL_BYTE_ARRAY:
        if (writer->workshop->plain_strings) {
            encode_plain_strings(writer, to);
            return ENCODING_PLAIN;
        }
        encode_delta_i32(to, (const int32_t *)(const void *)writer->lengths.data, count);
        put_dense(writer, to);
        return ENCODING_DELTA_LENGTH_BYTE_ARRAY;
    default:
        break;
    }
    if (leaf->range == RANGE_INT128)
        encode_decimal(to, values, count, leaf->width);
    else
        bytes_put(to, values, writer->dense.used);
    return ENCODING_PLAIN;
}

static unsigned number_width(const ColumnWriter *writer)
{
    unsigned width = bits_needed(writer->dictionary.count - 1);
    return width ? width : 1;
}

/* At the first page's end. A later page has the dictionary for nothing, unless this is the last. */
static bool dictionary_pays(ColumnWriter *writer, bool is_last)
{
    uint64_t numbers = (uint64_t)writer->values * number_width(writer) / 8;
    uint64_t entries = dictionary_plain_bytes(&writer->dictionary);
    if (writer->leaf.range == RANGE_BYTES) {
        uint64_t plain = 0;
        const uint32_t *at = (const uint32_t *)(const void *)writer->numbers.data;
        for (uint32_t i = 0; i < writer->values; i++) {
            uint32_t bytes;
            dictionary_bytes(&writer->dictionary, at[i], &bytes);
            plain += bytes + 1;
        }
        return (numbers + entries) * 10 < plain * 9;
    }
    if (!is_last)
        entries /= 4;
    if (writer->leaf.range == RANGE_FLOAT)
        return (numbers + entries) * 10 < (uint64_t)writer->values * writer->leaf.width * 8;
    /* Integers: against what delta packing makes of them. */
    ASSERT(!is_bytes(&writer->leaf));
    ColumnWriter direct = {
        .leaf = writer->leaf, .workshop = writer->workshop, .values = writer->values};
    const uint32_t *at = (const uint32_t *)(const void *)writer->numbers.data;
    bytes_reserve(&direct.dense, (size_t)writer->values * writer->leaf.width);
    for (uint32_t i = 0; i < writer->values; i++) {
        uint32_t bytes;
        const uint8_t *value = dictionary_bytes(&writer->dictionary, at[i], &bytes);
        bytes_put(&direct.dense, value, bytes);
    }
    Bytes *spare = &writer->workshop->spare;
    bytes_clear(spare);
    encode_direct(&direct, spare);
    bytes_done(&direct.dense);
    return numbers + entries < spare->used;
}

static Encoding encode_values(ColumnWriter *writer, Bytes *to)
{
    if (!writer->values) /* a dictionary may be without entries then */
        return ENCODING_PLAIN;
    if (!uses_dictionary(writer))
        return encode_direct(writer, to);
    bytes_put_u8(to, (uint8_t)number_width(writer));
    encode_hybrid(to, (const uint32_t *)(const void *)writer->numbers.data, writer->values,
                  number_width(writer));
    return ENCODING_RLE_DICTIONARY;
}

/* Version 1 puts the levels' length before them. */
static void put_levels_length(Bytes *to, size_t start)
{
    uint32_t bytes = (uint32_t)(to->used - start - sizeof bytes);
    memcpy(to->data + start, &bytes, sizeof bytes);
}

static void encode_levels(const ColumnWriter *writer, Bytes *to)
{
    size_t start = to->used;
    if (writer->leaf.repetition_max) {
        bytes_put_u32(to, 0);
        encode_hybrid(to, (const uint32_t *)(const void *)writer->repetitions.data, writer->slots,
                      bits_needed(writer->leaf.repetition_max));
        put_levels_length(to, start);
        start = to->used;
    }
    if (!writer->leaf.definition_max)
        return;
    bytes_put_u32(to, 0);
    if (writer->leaf.depth)
        encode_hybrid(to, (const uint32_t *)(const void *)writer->definitions.data, writer->slots,
                      bits_needed(writer->leaf.definition_max));
    else
        encode_hybrid_bits(to, writer->validity.data, writer->slots, !writer->nulls);
    put_levels_length(to, start);
}

static void bloom_add(ColumnWriter *writer)
{
    size_t most = writer->workshop->group_rows;
    if (uses_dictionary(writer)) {
        for (; writer->bloom_entries < writer->dictionary.count; writer->bloom_entries++) {
            uint32_t bytes;
            const uint8_t *value =
                dictionary_bytes(&writer->dictionary, writer->bloom_entries, &bytes);
            bloom_put(&writer->bloom, bloom_hash(value, bytes), most);
        }
        return;
    }
    const uint8_t *value = writer->dense.data;
    const int32_t *lengths = (const int32_t *)(const void *)writer->lengths.data;
    Bytes *decimals = &writer->workshop->spare;
    if (writer->leaf.range == RANGE_INT128) {
        bytes_clear(decimals);
        encode_decimal(decimals, (const __int128 *)(const void *)value, writer->values,
                       writer->leaf.width);
        value = decimals->data;
    }
    for (uint32_t i = 0; i < writer->values; i++) {
        uint32_t bytes = is_bytes(&writer->leaf) ? (uint32_t)lengths[i] : writer->leaf.width;
        bloom_put(&writer->bloom, bloom_hash(value, bytes), most);
        value += bytes;
    }
}

static void put_page_header(Bytes *to, PageType type, size_t plain_bytes, size_t bytes,
                            uint32_t values, Encoding encoding)
{
    int16_t last = 0, inner = 0;
    bytes_clear(to);
    thrift_put_i32(to, &last, 1, type);
    thrift_put_i32(to, &last, 2, (int32_t)plain_bytes);
    thrift_put_i32(to, &last, 3, (int32_t)bytes);
    thrift_put_field(to, &last, type == PAGE_DATA ? 5 : 7, THRIFT_STRUCT);
    thrift_put_i32(to, &inner, 1, (int32_t)values);
    thrift_put_i32(to, &inner, 2, encoding);
    if (type == PAGE_DATA) {
        thrift_put_i32(to, &inner, 3, ENCODING_RLE);
        thrift_put_i32(to, &inner, 4, ENCODING_RLE);
    }
    thrift_put_stop(to);
    thrift_put_stop(to);
}

/* Compresses the workshop's body; the page owns header and body in one piece. */
void page_finish(ColumnWriter *writer, Page *page, PageType type, uint32_t values,
                 CompressorHabit *habit)
{
    PageWorkshop *workshop = writer->workshop;
    const uint8_t *packed;
    size_t packed_bytes;
    compressor_run(workshop->compressor, habit, workshop->body.data, workshop->body.used, &packed,
                   &packed_bytes);
    put_page_header(&workshop->header, type, workshop->body.used, packed_bytes, values,
                    page->encoding);
    size_t head = workshop->header.used;
    page->bytes = (uint32_t)(head + packed_bytes);
    page->plain_bytes = (uint32_t)(head + workshop->body.used);
    if (packed != workshop->body.data && workshop->body.held > kept_bytes(workshop))
        bytes_done(&workshop->body);
    page->data = mem_alloc(page->bytes);
    memcpy(page->data, workshop->header.data, head);
    if (packed_bytes)
        memcpy(page->data + head, packed, packed_bytes);
    compressor_rest(workshop->compressor, kept_bytes(workshop));
}

static void page_clear(ColumnWriter *writer)
{
    writer->rows = writer->slots = writer->values = writer->nulls = 0;
    writer->range = (Range){0};
    bytes_clear(&writer->validity);
    bytes_clear(&writer->definitions);
    bytes_clear(&writer->repetitions);
    if (writer->dense.held > kept_bytes(writer->workshop))
        bytes_done(&writer->dense);
    bytes_clear(&writer->dense);
    bytes_clear(&writer->lengths);
    bytes_clear(&writer->numbers);
}

void page_end(ColumnWriter *writer, bool is_last)
{
    if (!writer->rows)
        return;
    if (writer->state == DICTIONARY_UNDECIDED && writer->values) {
        if (dictionary_pays(writer, is_last))
            writer->state = DICTIONARY_ON;
        else
            page_drop_dictionary(writer);
    }
    if (writer->leaf.range == RANGE_BYTES)
        range_bytes(writer);
    if (writer->wants_bloom)
        bloom_add(writer);
    if (writer->page_count == writer->pages_held) {
        writer->pages_held = writer->pages_held ? writer->pages_held * 2 : 16;
        writer->pages = mem_regrow(writer->pages, writer->pages_held, sizeof *writer->pages);
    }
    Page *page = &writer->pages[writer->page_count++];
    *page = (Page){.rows = writer->rows,
                   .slots = writer->slots,
                   .nulls = writer->nulls,
                   .range = writer->range};
    Bytes *body = &writer->workshop->body;
    bytes_clear(body);
    encode_levels(writer, body);
    page->encoding = (uint8_t)encode_values(writer, body);
    page_finish(writer, page, PAGE_DATA, writer->slots, &writer->habit);
    writer->page_bytes += page->bytes;
    if (writer->state == DICTIONARY_CLOSING)
        writer->state = DICTIONARY_OFF;
    page_clear(writer);
}

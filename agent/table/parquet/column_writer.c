#include "agent/table/parquet/column_writer.h"

#include "agent/table/parquet/page_index.h"
#include "agent/table/parquet/page_write.h"

#define CHUNK_VALUES 1024 /* staged at a time: dense, they stay in the first-level cache */
#define LARGE_VALUE_BYTES ((size_t)512) /* on the average of a page */
#define DICTIONARY_EARLY 4096           /* values after which hopeless dictionaries are given up */

void column_writer_init(ColumnWriter *writer, const Leaf *leaf, PageWorkshop *workshop,
                        bool wants_bloom)
{
    *writer = (ColumnWriter){.leaf = *leaf, .workshop = workshop};
    writer->wants_bloom = wants_bloom && leaf->physical != PHYSICAL_BOOLEAN;
    writer->state = DICTIONARY_UNDECIDED;
    if (leaf->physical == PHYSICAL_BOOLEAN || leaf->range == RANGE_INT128)
        writer->state = DICTIONARY_OFF;
    dictionary_init(&writer->dictionary, leaf->width);
}

static void pages_drop(ColumnWriter *writer)
{
    for (uint32_t i = 0; i < writer->page_count; i++)
        free(writer->pages[i].data);
    writer->page_count = 0;
    writer->page_bytes = 0;
}

void column_writer_done(ColumnWriter *writer)
{
    pages_drop(writer);
    free(writer->pages);
    free(writer->stamps);
    dictionary_done(&writer->dictionary);
    bloom_done(&writer->bloom);
    bytes_done(&writer->validity);
    bytes_done(&writer->definitions);
    bytes_done(&writer->repetitions);
    bytes_done(&writer->dense);
    bytes_done(&writer->lengths);
    bytes_done(&writer->numbers);
}

/* ---------- staging ---------- */
static void range_add(ColumnWriter *writer, const void *values, size_t count)
{
    const Leaf *leaf = &writer->leaf;
    switch (leaf->range) {
    case RANGE_INT:
        if (leaf->physical == PHYSICAL_BOOLEAN)
            range_add_bools(&writer->range, values, count);
        else if (leaf->width == 4)
            range_add_i32(&writer->range, values, count);
        else
            range_add_i64(&writer->range, values, count);
        break;
    case RANGE_FLOAT:
        if (leaf->width == 4)
            range_add_f32(&writer->range, values, count);
        else
            range_add_f64(&writer->range, values, count);
        break;
    case RANGE_INT128:
        range_add_i128(&writer->range, values, count);
        break;
    case RANGE_BYTES: /* at the page's end */
        break;
    }
}

/* Fixed-width bytes and UUIDs. */
static void number_blocks(ColumnWriter *writer, const uint8_t *values, size_t count, uint32_t *to)
{
    const uint8_t *at[DICTIONARY_ROUND];
    uint32_t bytes[DICTIONARY_ROUND];
    for (size_t from = 0; from < count; from += DICTIONARY_ROUND) {
        size_t part = count - from < DICTIONARY_ROUND ? count - from : DICTIONARY_ROUND;
        for (size_t i = 0; i < part; i++) {
            at[i] = values + (from + i) * writer->leaf.width;
            bytes[i] = writer->leaf.width;
        }
        dictionary_put_bytes(&writer->dictionary, at, bytes, part, to + from);
    }
}

static void number_values(ColumnWriter *writer, const uint8_t *values, size_t count)
{
    bytes_reserve(&writer->numbers, count * sizeof(uint32_t));
    uint32_t *to = (uint32_t *)(void *)(writer->numbers.data + writer->numbers.used);
    if (writer->leaf.range == RANGE_BYTES)
        number_blocks(writer, values, count, to);
    else if (writer->leaf.width == 4)
        dictionary_put_u32(&writer->dictionary, (const uint32_t *)(const void *)values, count, to);
    else
        dictionary_put_u64(&writer->dictionary, (const uint64_t *)(const void *)values, count, to);
    writer->numbers.used += count * sizeof *to;
}

static void stage_fixed(ColumnWriter *writer, const Column *column, const Rows *rows)
{
    Bytes *to = uses_dictionary(writer) ? &writer->workshop->chunk : &writer->dense;
    size_t width = gather_width(&writer->leaf);
    if (uses_dictionary(writer))
        bytes_clear(to);
    bytes_reserve(to, rows->count * width);
    uint8_t *values = to->data + to->used;
    size_t count = gather_fixed(&writer->leaf, column, rows, values);
    range_add(writer, values, count);
    if (uses_dictionary(writer))
        number_values(writer, values, count);
    else
        to->used += count * width;
    writer->values += (uint32_t)count;
}

static void stage_bytes_numbered(ColumnWriter *writer, const Column *column, const Rows *rows)
{
    bytes_reserve(&writer->numbers, rows->count * sizeof(uint32_t));
    uint32_t *to = (uint32_t *)(void *)(writer->numbers.data + writer->numbers.used);
    const uint8_t *values[DICTIONARY_ROUND];
    uint32_t bytes[DICTIONARY_ROUND];
    size_t count = 0, round = 0;
    for (size_t i = 0; i < rows->count; i++) {
        uint32_t row = rows_get(rows, i);
        if (column_is_null(column, row))
            continue;
        values[round] = column_bytes(column, row, &bytes[round]);
        if (++round == DICTIONARY_ROUND) {
            dictionary_put_bytes(&writer->dictionary, values, bytes, round, to + count);
            count += round;
            round = 0;
        }
    }
    dictionary_put_bytes(&writer->dictionary, values, bytes, round, to + count);
    count += round;
    writer->numbers.used += count * sizeof *to;
    writer->values += (uint32_t)count;
}

static void stage_bytes(ColumnWriter *writer, const Column *column, const Rows *rows)
{
    bytes_reserve(&writer->lengths, rows->count * sizeof(int32_t));
    int32_t *lengths = (int32_t *)(void *)(writer->lengths.data + writer->lengths.used);
    size_t count = 0;
    if (!column->null_count && !rows->selection) { /* as they lie */
        const int32_t *offsets = column->offsets + rows->at;
        for (; count < rows->count; count++)
            lengths[count] = offsets[count + 1] - offsets[count];
        bytes_put(&writer->dense, column->values + offsets[0],
                  (size_t)(offsets[rows->count] - offsets[0]));
    } else {
        for (size_t i = 0; i < rows->count; i++) {
            uint32_t row = rows_get(rows, i), bytes;
            if (column_is_null(column, row))
                continue;
            const uint8_t *value = column_bytes(column, row, &bytes);
            bytes_put(&writer->dense, value, bytes);
            lengths[count++] = (int32_t)bytes;
        }
    }
    writer->lengths.used += count * sizeof *lengths;
    writer->values += (uint32_t)count;
}

/* Ids and tokens are all different: known after few values. */
static bool is_hopeless(const ColumnWriter *writer)
{
    uint64_t distinct = writer->dictionary.count;
    if (writer->leaf.range == RANGE_BYTES)
        return distinct * 100 > (uint64_t)writer->values * 97;
    return distinct * 2 > writer->values;
}

static void watch_dictionary(ColumnWriter *writer, uint32_t values_before)
{
    if (writer->state == DICTIONARY_UNDECIDED) {
        bool early = values_before < DICTIONARY_EARLY && writer->values >= DICTIONARY_EARLY;
        if ((early && is_hopeless(writer)) || dictionary_is_full(&writer->dictionary))
            page_drop_dictionary(writer);
    } else if (writer->state == DICTIONARY_ON && dictionary_is_full(&writer->dictionary)) {
        writer->state = DICTIONARY_CLOSING;
    }
}

static void stage(ColumnWriter *writer, const Column *column, const Rows *rows)
{
    for (size_t at = 0; at < rows->count; at += CHUNK_VALUES) {
        Rows part = {rows->selection, rows->at + at, rows->count - at};
        if (part.count > CHUNK_VALUES)
            part.count = CHUNK_VALUES;
        uint32_t before = writer->values;
        if (!is_bytes(&writer->leaf))
            stage_fixed(writer, column, &part);
        else if (uses_dictionary(writer))
            stage_bytes_numbered(writer, column, &part);
        else
            stage_bytes(writer, column, &part);
        watch_dictionary(writer, before);
    }
}

static void stage_flat(ColumnWriter *writer, const Column *column, const Rows *rows)
{
    if (writer->leaf.definition_max) {
        size_t bytes = ((size_t)writer->slots + rows->count + 7) / 8;
        bytes_clear(&writer->validity);
        bytes_reserve(&writer->validity, bytes);
        writer->nulls +=
            (uint32_t)gather_validity(column, rows, writer->validity.data, writer->slots);
        writer->validity.used = bytes;
    }
    stage(writer, column, rows);
    writer->slots += (uint32_t)rows->count;
}

/* One value of the step's column, and all below it: a level pair for each slot, and the rows of the
 * leaf's own column that hold values to workshop->rows. */
static void stripe(ColumnWriter *writer, const Column *column, uint32_t row, uint32_t step,
                   uint32_t repetition, uint32_t definition, uint32_t lists)
{
    const Leaf *leaf = &writer->leaf;
    const Field *field = step == leaf->depth ? leaf->field : leaf->steps[step].field;
    const Column *child;
    bool there = !column_is_null(column, row);
    definition += there && !field->required;
    if (there && step == leaf->depth) {
        bytes_put_u32(&writer->workshop->rows, row);
    } else if (there && field->type.kind == TYPE_STRUCT) {
        child = &column->child[leaf->steps[step].child];
        stripe(writer, child, row, step + 1, repetition, definition, lists);
        return;
    } else if (there && column->offsets[row] < column->offsets[row + 1]) {
        child = &column->child[leaf->steps[step].child];
        for (int32_t at = column->offsets[row]; at < column->offsets[row + 1]; at++) {
            stripe(writer, child, (uint32_t)at, step + 1, repetition, definition + 1, lists + 1);
            repetition = lists + 1;
        }
        return;
    } else {
        writer->nulls++; /* a null, or an empty list */
    }
    bytes_put_u32(&writer->repetitions, repetition);
    bytes_put_u32(&writer->definitions, definition);
    writer->slots++;
}

static const Column *leaf_column(const Leaf *leaf, const Column *column)
{
    for (uint32_t i = 0; i < leaf->depth; i++)
        column = &column->child[leaf->steps[i].child];
    return column;
}

static void stage_nested(ColumnWriter *writer, const Column *column, const Rows *rows)
{
    Bytes *inner = &writer->workshop->rows;
    bytes_clear(inner);
    for (size_t i = 0; i < rows->count; i++)
        stripe(writer, column, rows_get(rows, i), 0, 0, 0, 0);
    size_t count = inner->used / sizeof(uint32_t);
    Rows values = {(const uint32_t *)(const void *)inner->data, 0, count};
    /* Elements of rows that follow each other do so too: without a selection it is faster. */
    if (count && values.selection[count - 1] - values.selection[0] == count - 1)
        values = (Rows){NULL, values.selection[0], count};
    if (count)
        stage(writer, leaf_column(&writer->leaf, column), &values);
}

/* ---------- rows in ---------- */
static size_t staged_bytes(const ColumnWriter *writer)
{
    return writer->dense.used + writer->lengths.used + writer->numbers.used +
           writer->definitions.used;
}

/* About what one value of the step's column takes in this leaf, which is nested. */
static size_t value_bytes(const ColumnWriter *writer, const Column *column, uint32_t row,
                          uint32_t step)
{
    const Leaf *leaf = &writer->leaf;
    size_t bytes = 8;
    if (step == leaf->depth)
        return bytes + (column->offsets ? (size_t)(column->offsets[row + 1] - column->offsets[row])
                                        : column->width);
    const Column *child = &column->child[leaf->steps[step].child];
    if (!column->offsets)
        return value_bytes(writer, child, row, step + 1);
    for (int32_t at = column->offsets[row]; at < column->offsets[row + 1]; at++)
        bytes += value_bytes(writer, child, (uint32_t)at, step + 1);
    return bytes;
}

/* Pages of large values are small: one of them is looked up alone now and then
 * (parquet_reader_pick), and that is not to cost a thousand. */
static bool page_is_full(const ColumnWriter *writer, size_t bytes, size_t rows)
{
    size_t limit = writer->workshop->page_bytes;
    return bytes >= limit || (bytes >= limit / 8 && bytes / LARGE_VALUE_BYTES >= rows);
}

/* How many of the rows go in until the page is full; at least one. */
static size_t rows_that_fit(const ColumnWriter *writer, const Column *column, const Rows *rows)
{
    size_t most = PAGE_ROWS_MAX - writer->rows;
    if (most > rows->count)
        most = rows->count;
    size_t staged = staged_bytes(writer), limit = writer->workshop->page_bytes;
    size_t room = staged < limit ? limit - staged : 0;
    size_t fit = 0;
    if (writer->leaf.depth) {
        for (size_t used = 0; fit < most && used < room; fit++) {
            used += value_bytes(writer, column, rows_get(rows, fit), 0);
            if (page_is_full(writer, staged + used, writer->rows + fit + 1))
                return fit + 1;
        }
    } else if (!column->offsets) {
        fit = room / gather_width(&writer->leaf);
        fit = fit < most ? fit : most;
    } else {
        for (size_t used = 0; fit < most && used < room; fit++) {
            uint32_t row = rows_get(rows, fit);
            used += (size_t)(column->offsets[row + 1] - column->offsets[row]) + 4;
            if (page_is_full(writer, staged + used, writer->rows + fit + 1))
                return fit + 1;
        }
    }
    return fit ? fit : 1;
}

/* A value as large as a page ends the part that it is in, and would stand twice: in the dictionary,
 * where nothing is like it, and in the page. */
static bool is_too_large(const ColumnWriter *writer, const Column *column, const Rows *part)
{
    if (!is_bytes(&writer->leaf) || writer->leaf.depth || !uses_dictionary(writer))
        return false;
    uint32_t row = rows_get(part, part->count - 1);
    return (size_t)(column->offsets[row + 1] - column->offsets[row]) >=
           writer->workshop->page_bytes;
}

static void leave_dictionary(ColumnWriter *writer)
{
    if (writer->state == DICTIONARY_UNDECIDED)
        page_drop_dictionary(writer);
    else
        page_end(writer, false);
    writer->state = DICTIONARY_OFF;
}

void column_writer_put(ColumnWriter *writer, const Column *column, const Rows *rows)
{
    for (size_t at = 0; at < rows->count;) {
        Rows part = {rows->selection, rows->at + at, rows->count - at};
        part.count = rows_that_fit(writer, column, &part);
        if (UNLIKELY(is_too_large(writer, column, &part)))
            leave_dictionary(writer);
        if (writer->leaf.depth)
            stage_nested(writer, column, &part);
        else
            stage_flat(writer, column, &part);
        writer->rows += (uint32_t)part.count;
        at += part.count;
        if (writer->rows >= PAGE_ROWS_MAX || writer->state == DICTIONARY_CLOSING ||
            page_is_full(writer, staged_bytes(writer), writer->rows))
            page_end(writer, false);
    }
}

/* ---------- the chunk ---------- */
static bool flush_dictionary(ColumnWriter *writer, StoreWriter *sink, uint64_t *offset,
                             ChunkInfo *info, Error *err)
{
    const Dictionary *dictionary = &writer->dictionary;
    Bytes *body = &writer->workshop->body;
    bytes_clear(body);
    if (dictionary->width) {
        bytes_put(body, dictionary->values.data, dictionary->values.used);
    } else {
        for (uint32_t i = 0; i < dictionary->count; i++) {
            uint32_t bytes;
            const uint8_t *value = dictionary_bytes(dictionary, i, &bytes);
            bytes_put_u32(body, bytes);
            bytes_put(body, value, bytes);
        }
    }
    Page page = {.encoding = ENCODING_PLAIN};
    page_finish(writer, &page, PAGE_DICTIONARY, dictionary->count, &writer->dictionary_habit);
    bool written = store_write(sink, page.data, page.bytes, err);
    free(page.data);
    info->dictionary_pages = 1;
    info->dictionary_offset = *offset;
    info->bytes += page.bytes;
    info->plain_bytes += page.plain_bytes;
    *offset += page.bytes;
    return written;
}

static bool flush_pages(ColumnWriter *writer, StoreWriter *sink, ChunkInfo *info, Error *err)
{
    for (uint32_t i = 0; i < writer->page_count; i++) {
        Page *page = &writer->pages[i];
        if (!store_write(sink, page->data, page->bytes, err))
            return false;
        free(page->data);
        page->data = NULL;
        info->bytes += page->bytes;
        info->plain_bytes += page->plain_bytes;
        info->slots += page->slots;
        info->nulls += page->nulls;
        range_merge(&info->range, &page->range, writer->leaf.range);
        if (page->encoding == ENCODING_RLE_DICTIONARY) {
            info->numbered_pages++;
        } else {
            info->direct_pages++;
            if (page->nulls < page->slots)
                info->direct_encoding = page->encoding;
        }
    }
    return true;
}

bool column_writer_flush(ColumnWriter *writer, StoreWriter *sink, uint64_t *offset,
                         Bytes *column_indexes, Bytes *offset_indexes, ChunkInfo *ret, Error *err)
{
    *ret = (ChunkInfo){0};
    page_end(writer, true);
    if (writer->dictionary.count && !flush_dictionary(writer, sink, offset, ret, err))
        return false;
    ret->data_offset = *offset;
    if (!flush_pages(writer, sink, ret, err))
        return false;
    size_t before = column_indexes->used;
    page_index_put_bounds(column_indexes, &writer->leaf, writer->pages, writer->page_count);
    ret->column_index_bytes = (uint32_t)(column_indexes->used - before);
    before = offset_indexes->used;
    page_index_put_offsets(offset_indexes, *offset, writer->pages, writer->page_count);
    ret->offset_index_bytes = (uint32_t)(offset_indexes->used - before);
    *offset += writer->page_bytes;

    pages_drop(writer);
    /* A column that gave its dictionary up in the first page need not try again. */
    if (writer->dictionary.count)
        writer->state = DICTIONARY_UNDECIDED;
    dictionary_reset(&writer->dictionary);
    writer->bloom_entries = 0;
    return true;
}

uint64_t column_writer_bytes(const ColumnWriter *writer)
{
    return writer->page_bytes + staged_bytes(writer) / 2 +
           dictionary_plain_bytes(&writer->dictionary) / 4;
}

size_t column_writer_memory(const ColumnWriter *writer)
{
    return writer->page_bytes + writer->pages_held * sizeof *writer->pages + writer->validity.held +
           writer->definitions.held + writer->repetitions.held + writer->dense.held +
           writer->lengths.held + writer->numbers.held +
           writer->stamps_held * sizeof *writer->stamps + dictionary_memory(&writer->dictionary) +
           bloom_memory(&writer->bloom);
}

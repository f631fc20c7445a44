/* The way of a batch: hash every key; locate every key's entry (which then stays where it is);
 * walk the rows in order and let each replace or delete what its entry points to; gather the rows
 * that are left into the data files; store where they went in their entries. */
#include "agent/table/upsert_private.h"

#include <string.h>

#include "common/mem.h"

static void release(Upsert *upsert)
{
    key_index_free(upsert->index);
    live_files_done(&upsert->files);
    key_hasher_done(&upsert->hasher);
    fill_free(upsert->fill);
    order_free(upsert->order);
    free(upsert->slots);
    free(upsert->keep);
    free(upsert->selection);
    free(upsert->row_ids);
    free(upsert->row_id_bits);
    free(upsert->no_bits);
    free(upsert->columns);
    free(upsert->numbers);
    free(upsert->taken);
}

void upsert_free(Upsert *upsert)
{
    if (!upsert)
        return;
    release(upsert);
    free(upsert);
}

/* For the fill: the URI of a whole file. One that is still the writer's has none yet. */
static bool whole_file(void *context, uint32_t number, const char **ret_uri, Error *err)
{
    Upsert *upsert = context;
    *ret_uri = upsert->files.items[number].info.path;
    if (*ret_uri)
        return true;
    uint32_t at = 0;
    while (at < upsert->number_count && upsert->numbers[at] != number)
        at++;
    ASSERT(at < upsert->number_count);
    return data_writer_whole(upsert->options.writer, at, ret_uri, err);
}

static void order_begin(Upsert *upsert)
{
    const UpsertOptions *options = &upsert->options;
    order_free(TAKE(upsert->order));
    if (!options->ordering)
        return;
    int at = schema_find(options->schema, options->ordering);
    ASSERT(at >= 0);
    upsert->ordering = (uint32_t)at;
    upsert->order = order_new(&(OrderOptions){.store = options->store,
                                              .field = &options->schema->fields[at],
                                              .file = whole_file,
                                              .context = upsert});
}

Upsert *upsert_new(const UpsertOptions *options, Error *err)
{
    const Schema *schema = options->schema;
    Upsert *upsert = mem_zalloc(sizeof *upsert);
    upsert->options = *options;
    upsert->lineage = options->lineage != NULL;
    live_files_init(&upsert->files);
    AUTO(mem_free) uint32_t *columns = mem_array(schema->key_count, sizeof *columns);
    for (size_t i = 0; i < schema->key_count; i++)
        columns[i] = options->source_of[schema->key[i]];
    if (!key_hasher_init(&upsert->hasher, options->source, columns, schema->key_count, err)) {
        release(upsert);
        free(upsert);
        return NULL;
    }
    if (options->seed)
        key_hasher_seed(&upsert->hasher, options->seed);
    upsert->index = key_index_new(upsert->hasher.wide, upsert->lineage);
    upsert->columns = mem_array(schema->field_count + 2, sizeof(Column *));
    upsert->first_pending = upsert->files.count;
    upsert->fill = fill_new(&(FillOptions){
        .store = options->store, .schema = schema, .file = whole_file, .context = upsert});
    order_begin(upsert);
    return upsert;
}

void upsert_reshape(Upsert *upsert, const UpsertOptions *options)
{
    const Schema *schema = options->schema;
    ASSERT(schema->key_count == upsert->hasher.count && !options->lineage == !upsert->lineage);
    upsert->options = *options;
    AUTO(mem_free) uint32_t *columns = mem_array(schema->key_count, sizeof *columns);
    for (size_t i = 0; i < schema->key_count; i++)
        columns[i] = options->source_of[schema->key[i]];
    key_hasher_move(&upsert->hasher, options->source, columns);
    upsert->columns = mem_regrow(upsert->columns, schema->field_count + 2, sizeof(Column *));
    fill_reset(upsert->fill, schema);
    order_begin(upsert);
}

static void scratch_reserve(Upsert *upsert, uint32_t rows)
{
    if (rows <= upsert->rows_held)
        return;
    upsert->rows_held = rows;
    upsert->slots = mem_regrow(upsert->slots, rows, sizeof *upsert->slots);
    upsert->keep = mem_regrow(upsert->keep, rows, sizeof *upsert->keep);
    upsert->selection = mem_regrow(upsert->selection, rows, sizeof *upsert->selection);
    if (!upsert->lineage)
        return;
    size_t bits = (rows + 7) / 8;
    upsert->row_ids = mem_regrow(upsert->row_ids, rows, sizeof *upsert->row_ids);
    upsert->row_id_bits = mem_regrow(upsert->row_id_bits, bits, 1);
    upsert->no_bits = mem_regrow(upsert->no_bits, bits, 1);
    memset(upsert->no_bits, 0, bits);
}

/* The row id of the row an entry points to, if it has one by now. */
static int64_t known_row_id(const Upsert *upsert, const IndexEntry *entry)
{
    int64_t row_id = key_index_row_id(upsert->index, entry);
    if (row_id != INDEX_ROW_ID_NONE)
        return row_id;
    int64_t first = upsert->files.items[entry->file].info.first_row_id;
    return entry->file < upsert->first_pending && first >= 0 ? first + entry->position
                                                             : INDEX_ROW_ID_NONE;
}

/* The entry's row is replaced or deleted; returns its row id, if the new version inherits one. */
static inline int64_t displace(Upsert *upsert, const IndexEntry *entry)
{
    if (!index_entry_has_row(entry))
        return INDEX_ROW_ID_NONE;
    if (entry->file == INDEX_FILE_BATCH) {
        upsert->keep[entry->position] = 0;
        return upsert->lineage ? upsert->row_ids[entry->position] : INDEX_ROW_ID_NONE;
    }
    int64_t row_id = upsert->lineage ? known_row_id(upsert, entry) : INDEX_ROW_ID_NONE;
    live_files_delete(&upsert->files, entry->file, entry->position);
    return row_id;
}

/* Of a key's change: under the old key. */
static void note_base(Upsert *upsert, const Batch *batch, uint32_t from, uint32_t row,
                      const IndexEntry *entry)
{
    bool moved = row > from && batch->ops[row - 1] == ROW_MOVE;
    upsert->bases[row] = moved ? upsert->bases[row - 1] : (RowBase){entry->file, entry->position};
}

/* The versions that there are of the rows at slots[0..count). */
static void want_versions(Upsert *upsert, const uint32_t *slots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const IndexEntry *entry = key_index_entry(upsert->index, slots[i]);
        if (index_entry_has_row(entry))
            order_want(upsert->order, (RowBase){entry->file, entry->position});
    }
}

/* Is the batch's row older than the version that there is? A row that is deleted is deleted
 * whichever it is. */
static bool is_older(const Upsert *upsert, const Batch *batch, const Column *const *columns,
                     uint32_t row, const IndexEntry *entry)
{
    if (LIKELY(!upsert->order) || batch->ops[row] == ROW_DELETE || !index_entry_has_row(entry))
        return false;
    const Column *own = columns[upsert->ordering], *other = own;
    uint32_t other_row = entry->position;
    if (entry->file != INDEX_FILE_BATCH)
        other = order_value(upsert->order, (RowBase){entry->file, entry->position}, &other_row);
    return order_before(own, row, other, other_row);
}

static void apply_rows(Upsert *upsert, const Batch *batch, const Column *const *columns,
                       uint32_t from)
{
    KeyIndex *index = upsert->index;
    int64_t moved = INDEX_ROW_ID_NONE;
    for (uint32_t row = from; row < batch->row_count; row++) {
        IndexEntry *entry = key_index_entry(index, upsert->slots[row]);
        if (UNLIKELY(upsert->bases != NULL))
            note_base(upsert, batch, from, row, entry);
        RowOp op = batch->ops[row];
        if (UNLIKELY(is_older(upsert, batch, columns, row, entry))) {
            upsert->keep[row] = 0;
            continue;
        }
        int64_t row_id = displace(upsert, entry);
        bool written = op != ROW_DELETE && op != ROW_MOVE;
        upsert->keep[row] = written;
        if (written) {
            key_index_set(index, entry, INDEX_FILE_BATCH, row);
            if (moved != INDEX_ROW_ID_NONE)
                row_id = moved;
        } else {
            key_index_forget(index, entry);
        }
        moved = op == ROW_MOVE ? row_id : INDEX_ROW_ID_NONE;
        if (upsert->lineage)
            upsert->row_ids[row] = written ? row_id : INDEX_ROW_ID_NONE;
    }
}

/* Columns _row_id and _last_updated_sequence_number beside the batch's. The second is null: a row
 * written by an update takes the sequence number of its commit. Returns whether any id is known. */
static bool lineage_columns(Upsert *upsert, const Batch *batch, uint32_t from)
{
    const Schema *schema = upsert->options.schema;
    size_t bits = (batch->row_count + 7) / 8;
    uint32_t known = 0;
    memset(upsert->row_id_bits, 0, bits);
    for (uint32_t row = from; row < batch->row_count; row++)
        if (upsert->row_ids[row] != INDEX_ROW_ID_NONE && upsert->keep[row]) {
            bit_set(upsert->row_id_bits, row);
            known++;
        }
    Column column = {.width = 8,
                     .rows = batch->row_count,
                     .rows_max = batch->row_count,
                     .values = (uint8_t *)upsert->row_ids};
    upsert->row_id_column = column;
    upsert->row_id_column.validity = upsert->row_id_bits;
    upsert->row_id_column.null_count = batch->row_count - known;
    upsert->sequence_column = column;
    upsert->sequence_column.validity = upsert->no_bits;
    upsert->sequence_column.null_count = batch->row_count;
    upsert->row_id_column.field = &upsert->options.lineage->fields[schema->field_count];
    upsert->sequence_column.field = &upsert->options.lineage->fields[schema->field_count + 1];
    upsert->columns[schema->field_count] = &upsert->row_id_column;
    upsert->columns[schema->field_count + 1] = &upsert->sequence_column;
    return known > 0;
}

/* The number of a file of the writer. */
static uint32_t number_of(Upsert *upsert, uint32_t file)
{
    if (file < upsert->number_count)
        return upsert->numbers[file];
    ASSERT(file == upsert->number_count && upsert->files.count <= INDEX_FILE_MAX);
    if (upsert->number_count == upsert->numbers_held) {
        upsert->numbers_held = upsert->numbers_held ? upsert->numbers_held * 2 : 8;
        upsert->numbers =
            mem_regrow(upsert->numbers, upsert->numbers_held, sizeof *upsert->numbers);
    }
    uint32_t number = upsert->files.count;
    live_files_extend(&upsert->files, number + 1);
    upsert->numbers[upsert->number_count++] = number;
    return number;
}

/* The rows found their place: into their entries with it. */
static void placed(void *context, uint32_t file, uint32_t first_position, const uint32_t *rows,
                   size_t count)
{
    Upsert *upsert = context;
    uint32_t number = number_of(upsert, file);
    for (size_t i = 0; i < count; i++) {
        IndexEntry *entry = key_index_entry(upsert->index, upsert->slots[rows[i]]);
        key_index_set(upsert->index, entry, number, first_position + (uint32_t)i);
        if (upsert->lineage)
            key_index_set_row_id(upsert->index, entry, upsert->row_ids[rows[i]]);
    }
    if (fill_keeps(upsert->fill))
        fill_keep(upsert->fill, number, first_position, upsert->columns, rows, count);
}

/* The rows selected, piece by piece, with what the updates left out. */
static bool put_filled(Upsert *upsert, uint32_t count, bool with_row_ids, Error *err)
{
    fill_resolve(upsert->fill);
    for (size_t at = 0, piece; at < count; at += piece) {
        piece = count - at;
        if (!fill_rows(upsert->fill, upsert->selection + at, &piece, upsert->columns, err) ||
            !data_writer_put(upsert->options.writer, upsert->columns, upsert->selection + at, piece,
                             with_row_ids, placed, upsert, err))
            return false;
    }
    fill_end(upsert->fill);
    return true;
}

bool upsert_put(Upsert *upsert, const Batch *batch, const Column *const *columns, uint32_t from,
                Error *err)
{
    if (from >= batch->row_count)
        return true;
    scratch_reserve(upsert, batch->row_count);
    IndexKeys keys;
    if (!key_hasher_batch(&upsert->hasher, batch, from, &keys, err))
        return false;
    key_index_reserve(upsert->index, keys.count);
    key_index_locate(upsert->index, &keys, upsert->slots + from);
    upsert->bases = NULL;
    if (UNLIKELY(batch->has_unchanged))
        fill_begin(upsert->fill, batch, columns, from, &upsert->bases);
    if (upsert->order) {
        want_versions(upsert, upsert->slots + from, keys.count);
        if (!order_read(upsert->order, err))
            return false;
    }
    apply_rows(upsert, batch, columns, from);
    uint32_t count = 0;
    for (uint32_t row = from; row < batch->row_count; row++) {
        upsert->selection[count] = row;
        count += upsert->keep[row];
    }
    memcpy(upsert->columns, columns, upsert->options.schema->field_count * sizeof(Column *));
    bool with_row_ids = upsert->lineage && lineage_columns(upsert, batch, from);
    if (UNLIKELY(upsert->bases != NULL))
        return put_filled(upsert, count, with_row_ids, err);
    return data_writer_put(upsert->options.writer, upsert->columns, upsert->selection, count,
                           with_row_ids, placed, upsert, err);
}

bool upsert_is_wide(const Upsert *upsert)
{
    return upsert->hasher.wide;
}

#define RUN_KEYS 4096u          /* at a time */
#define RUN_KEYS_ORDERED 65536u /* …; what is read for them is read again for the next */

static bool read_run(Upsert *upsert, const UpsertRun *run, uint32_t first_file, Error *err)
{
    want_versions(upsert, upsert->slots, run->count);
    for (size_t i = 0; i < run->count; i++)
        if (run->files[i] != RUN_DELETED)
            order_want(upsert->order, (RowBase){first_file + run->files[i], run->positions[i]});
    return order_read(upsert->order, err);
}

static bool is_older_in_run(const Upsert *upsert, RowBase row, const IndexEntry *entry)
{
    uint32_t own_row, other_row;
    if (LIKELY(!upsert->order) || !index_entry_has_row(entry))
        return false;
    const Column *own = order_value(upsert->order, row, &own_row);
    const Column *other =
        order_value(upsert->order, (RowBase){entry->file, entry->position}, &other_row);
    return order_before(own, own_row, other, other_row);
}

/* Their slots are known. */
static void apply_run(Upsert *upsert, const UpsertRun *run, uint32_t first_file)
{
    KeyIndex *index = upsert->index;
    for (size_t i = 0; i < run->count; i++) {
        IndexEntry *entry = key_index_entry(index, upsert->slots[i]);
        bool deletes = run->files[i] == RUN_DELETED;
        const RowBase row = {first_file + run->files[i], run->positions[i]};
        if (!deletes && UNLIKELY(is_older_in_run(upsert, row, entry))) {
            live_files_delete(&upsert->files, row.file, row.position);
            continue;
        }
        if (index_entry_has_row(entry))
            live_files_delete(&upsert->files, entry->file, entry->position);
        if (deletes) {
            key_index_forget(index, entry);
            continue;
        }
        key_index_set(index, entry, row.file, row.position);
        key_index_set_row_id(index, entry, INDEX_ROW_ID_NONE);
    }
}

bool upsert_run(Upsert *upsert, const UpsertRun *run, uint32_t first_file, Error *err)
{
    size_t most = upsert->order ? RUN_KEYS_ORDERED : RUN_KEYS;
    ASSERT(!run->second == !upsert->hasher.wide);
    scratch_reserve(upsert, (uint32_t)(run->count < most ? run->count : most));
    for (size_t at = 0, count; at < run->count; at += count) {
        count = run->count - at < most ? run->count - at : most;
        const UpsertRun part = {.first = run->first + at,
                                .second = run->second ? run->second + at : NULL,
                                .files = run->files + at,
                                .positions = run->positions + at,
                                .count = count};
        const IndexKeys keys = {.first = part.first, .second = part.second, .count = count};
        key_index_reserve(upsert->index, count);
        key_index_locate(upsert->index, &keys, upsert->slots);
        if (upsert->order && !read_run(upsert, &part, first_file, err))
            return false;
        apply_run(upsert, &part, first_file);
    }
    return true;
}

void upsert_truncate(Upsert *upsert)
{
    data_writer_discard(upsert->options.writer);
    key_index_clear(upsert->index);
    live_files_done(&upsert->files);
    live_files_init(&upsert->files);
    upsert_none_pending(upsert);
    fill_reset(upsert->fill, upsert->options.schema);
    order_begin(upsert);
    upsert->remove_all = true;
}

void upsert_copying(Upsert *upsert, bool copying)
{
    upsert->index->keeps_gone = copying;
}

uint64_t upsert_rows(const Upsert *upsert)
{
    return upsert->index->live;
}

size_t upsert_memory(const Upsert *upsert)
{
    size_t row = sizeof *upsert->slots + sizeof *upsert->selection + 1;
    return key_index_memory(upsert->index) + upsert->files.held * sizeof *upsert->files.items +
           upsert->rows_held * (row + 16) + fill_memory(upsert->fill) +
           (upsert->order ? order_memory(upsert->order) : 0);
}

size_t upsert_kept(const Upsert *upsert)
{
    return fill_kept(upsert->fill);
}

void upsert_forget(Upsert *upsert)
{
    fill_forget(upsert->fill);
}

uint64_t upsert_filled(const Upsert *upsert)
{
    return fill_count(upsert->fill);
}

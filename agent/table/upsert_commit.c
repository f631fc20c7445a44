/* From pending to committed: which files are added, which are gone, which rows get deleted. */
#include <string.h>

#include "agent/table/upsert_private.h"
#include "common/mem.h"

void upsert_pending_done(UpsertPending *pending)
{
    delete_files_done(&pending->deletes);
    free(pending->added);
    free(pending->removed);
    free(pending->retired);
    free(pending->dead);
    *pending = (UpsertPending){0};
}

/* Files with new deletes: those without a live row are removed (or never committed); the others'
 * numbers go to ret_partly. */
static void sort_touched(Upsert *upsert, UpsertPending *pending, uint32_t *ret_partly,
                         size_t *ret_count)
{
    LiveFiles *files = &upsert->files;
    pending->removed = mem_array(files->touched_count, sizeof *pending->removed);
    pending->dead = mem_array(files->touched_count, sizeof *pending->dead);
    *ret_count = 0;
    for (uint32_t i = 0; i < files->touched_count; i++) {
        uint32_t number = files->touched[i];
        LiveFile *file = &files->items[number];
        ASSERT(file->deleted_count <= file->info.record_count);
        if (file->deleted_count < file->info.record_count)
            ret_partly[(*ret_count)++] = number;
        else if (number < upsert->first_pending)
            pending->removed[pending->removed_count++] = file->info.path;
        else
            pending->dead[pending->dead_count++] = file->info.path;
    }
}

/* Of a table that was of v2: each touched file has a vector now, or is gone. */
static void find_retired(const Upsert *upsert, UpsertPending *pending)
{
    const LiveFiles *files = &upsert->files;
    pending->retired = mem_array(files->old_count, sizeof *pending->retired);
    for (uint32_t i = 0; i < files->old_count; i++)
        if (live_files_outlived(files, &files->old[i]))
            pending->retired[pending->retired_count++] = files->old[i].path;
}

/* The pending data files by their numbers, from first_pending on; NULL when there are none. */
static DataFile *pending_files(Upsert *upsert, const DataFile *written)
{
    uint32_t first = upsert->first_pending;
    LiveFiles *files = &upsert->files;
    DataFile *all = mem_array(files->count - first, sizeof *all);
    for (uint32_t i = 0; i < upsert->number_count; i++) {
        all[upsert->numbers[i] - first] = written[i];
        data_file_copy_brief(&files->items[upsert->numbers[i]].info, &written[i]);
    }
    for (size_t i = 0; i < upsert->taken_count; i++)
        all[upsert->taken[i].number - first] = *upsert->taken[i].file;
    return all;
}

bool upsert_finish(Upsert *upsert, UpsertPending *pending, Error *err)
{
    const UpsertOptions *options = &upsert->options;
    LiveFiles *files = &upsert->files;
    DataFile *data;
    size_t data_count;
    *pending = (UpsertPending){.remove_all = upsert->remove_all};
    if (!data_writer_finish(options->writer, &data, &data_count, err))
        return false;
    ASSERT(data_count == upsert->number_count &&
           upsert->first_pending + data_count + upsert->taken_count == files->count);
    AUTO(mem_free) DataFile *fresh = pending_files(upsert, data);
    AUTO(mem_free) uint32_t *partly = mem_array(files->touched_count, sizeof *partly);
    size_t partly_count;
    sort_touched(upsert, pending, partly, &partly_count);
    bool written =
        upsert->lineage
            ? deletes_write_vectors(options->iceberg, options->store, files, partly, partly_count,
                                    &pending->deletes, err)
            : deletes_write_positions(options->iceberg, options->store, files, partly, partly_count,
                                      options->zstd_level, &pending->deletes, err);
    if (!written)
        return false;
    find_retired(upsert, pending);
    size_t fresh_count = files->count - upsert->first_pending;
    pending->added = mem_array(fresh_count + pending->deletes.count, sizeof *pending->added);
    for (size_t i = 0; i < fresh_count; i++) {
        const LiveFile *file = &files->items[upsert->first_pending + i];
        if (file->deleted_count < file->info.record_count)
            pending->added[pending->added_count++] = fresh[i];
    }
    pending->data_count = pending->added_count;
    for (size_t i = 0; i < pending->deletes.count; i++)
        pending->added[pending->added_count++] = pending->deletes.files[i];
    return true;
}

void upsert_committed(Upsert *upsert, const UpsertPending *pending)
{
    LiveFiles *files = &upsert->files;
    /* The committed data files stand in `added` in the order of their numbers, dead ones left out.
     */
    size_t next = 0;
    for (uint32_t number = upsert->first_pending; number < files->count; number++) {
        LiveFile *file = &files->items[number];
        if (file->deleted_count == file->info.record_count)
            continue;
        ASSERT(next < pending->data_count);
        const DataFile *committed = &pending->added[next++];
        file->info.sequence_number = committed->sequence_number;
        file->info.first_row_id = committed->first_row_id;
    }
    ASSERT(next == pending->data_count);
    for (uint32_t i = 0; i < files->touched_count; i++) {
        LiveFile *file = &files->items[files->touched[i]];
        file->touched = false;
        if (file->deleted_count == file->info.record_count) {
            live_file_drop(file);
        } else if (upsert->lineage) {
            file->has_vector = true;
        } else {
            roaring_bitmap_free(file->deleted);
            file->deleted = NULL;
        }
    }
    files->touched_count = 0;
    live_files_forget_old(files);
    upsert_none_pending(upsert);
    upsert->remove_all = false;
}

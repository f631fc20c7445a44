#include "agent/table/live.h"

#include <string.h>

#include "common/mem.h"

void live_files_init(LiveFiles *files)
{
    *files = (LiveFiles){0};
    live_files_extend(files, 1);
}

void live_files_extend(LiveFiles *files, uint32_t count)
{
    if (count > files->held) {
        files->held = count < 16 ? 16 : count + count / 2;
        files->items = mem_regrow(files->items, files->held, sizeof *files->items);
    }
    while (files->count < count)
        files->items[files->count++] = (LiveFile){0};
}

void live_file_drop(LiveFile *file)
{
    data_file_done(&file->info);
    if (file->deleted)
        roaring_bitmap_free(file->deleted);
    *file = (LiveFile){0};
}

void live_files_done(LiveFiles *files)
{
    for (uint32_t i = 1; i < files->count; i++)
        live_file_drop(&files->items[i]);
    free(files->items);
    free(files->touched);
    for (uint32_t i = 0; i < files->old_count; i++) {
        free(files->old[i].path);
        free(files->old[i].numbers);
    }
    free(files->old);
    *files = (LiveFiles){0};
}

void live_files_touch(LiveFiles *files, uint32_t number)
{
    ASSERT(number > 0 && number < files->count);
    LiveFile *file = &files->items[number];
    if (files->touched_count == files->touched_held) {
        files->touched_held = files->touched_held ? files->touched_held * 2 : 16;
        files->touched = mem_regrow(files->touched, files->touched_held, sizeof *files->touched);
    }
    files->touched[files->touched_count++] = number;
    file->touched = true;
    if (!file->deleted)
        file->deleted = roaring_bitmap_create();
    ASSERT(file->deleted);
}

bool live_files_outlived(const LiveFiles *files, const OldDeletes *old)
{
    for (uint32_t i = 0; i < old->count; i++) {
        const LiveFile *file = &files->items[old->numbers[i]];
        if (file->info.path && !file->has_vector && !file->touched)
            return false;
    }
    return true;
}

void live_files_forget_old(LiveFiles *files)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < files->old_count; i++) {
        if (!live_files_outlived(files, &files->old[i])) {
            files->old[kept++] = files->old[i];
            continue;
        }
        free(files->old[i].path);
        free(files->old[i].numbers);
    }
    files->old_count = kept;
}

void data_file_copy_brief(DataFile *to, const DataFile *from)
{
    *to = *from;
    to->metrics = NULL;
    to->metric_count = 0;
    to->split_offsets = NULL;
    to->split_count = 0;
    to->path = mem_strdup(from->path);
    to->referenced_data_file =
        from->referenced_data_file ? mem_strdup(from->referenced_data_file) : NULL;
    to->partition = mem_array(from->partition_count, sizeof *to->partition);
    for (size_t i = 0; i < from->partition_count; i++)
        value_copy(&to->partition[i], &from->partition[i]);
}

void partition_spec_copy(PartitionSpec *to, const PartitionSpec *from)
{
    *to = (PartitionSpec){.spec_id = from->spec_id, .field_count = from->field_count};
    to->fields = mem_array(from->field_count, sizeof *to->fields);
    for (size_t i = 0; i < from->field_count; i++) {
        to->fields[i] = from->fields[i];
        to->fields[i].name = mem_strdup(from->fields[i].name);
    }
}

void partition_spec_done(PartitionSpec *spec)
{
    for (size_t i = 0; i < spec->field_count; i++)
        free(spec->fields[i].name);
    free(spec->fields);
    *spec = (PartitionSpec){0};
}

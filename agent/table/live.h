/* The data files an Upsert table consists of, with the rows of each that are deleted. File numbers
 * count from 1 and are what the index holds; they are never given twice, so that an entry can't
 * point into another file.
 *
 * v3: `deleted` is everything the file's deletion vector has to name. v2: what is to be deleted by
 * the next commit; what earlier position delete files name is only counted. */
#pragma once

#include <roaring/roaring.h>

#include "agent/table/iceberg/iceberg.h"

typedef struct LiveFile {
    DataFile info;             /* owned; without metrics. path NULL: gone, or not finished yet */
    roaring_bitmap_t *deleted; /* NULL: none */
    uint64_t deleted_count;    /* all that ever were, in v2 too */
    bool touched;              /* since the last commit */
    bool has_vector;           /* v3: the table has one of it, which tells of all these rows */
} LiveFile;

/* v3: a position delete file of the time when the table was of v2. It holds for its data files that
 * are still there and have no vector. */
typedef struct OldDeletes {
    char *path;        /* owned */
    uint32_t *numbers; /* of its data files; owned */
    uint32_t count;
} OldDeletes;

typedef struct LiveFiles {
    LiveFile *items; /* items[0] is unused */
    uint32_t count;  /* with items[0]: the next number */
    uint32_t held;
    uint32_t *touched; /* numbers of files with new deletes */
    uint32_t touched_count;
    uint32_t touched_held;
    OldDeletes *old; /* those that name several files: of one alone, its vector replaces them */
    uint32_t old_count;
} LiveFiles;

void live_files_init(LiveFiles *files);
void live_files_done(LiveFiles *files);
/* Room for numbers below `count`; what is new is empty. */
void live_files_extend(LiveFiles *files, uint32_t count);
void live_file_drop(LiveFile *file);
void live_files_touch(LiveFiles *files, uint32_t number);
/* Does it hold for no file any more, once each that was touched has its vector? */
bool live_files_outlived(const LiveFiles *files, const OldDeletes *old);
/* Each that was touched has it, or is gone: forgets what has been outlived. */
void live_files_forget_old(LiveFiles *files);

/* The row becomes a deleted one; the index sees to it that none is deleted twice. */
static inline void live_files_delete(LiveFiles *files, uint32_t number, uint32_t position)
{
    LiveFile *file = &files->items[number];
    if (UNLIKELY(!file->touched))
        live_files_touch(files, number);
    roaring_bitmap_add(file->deleted, position);
    file->deleted_count++;
}

/* Path, partition and figures; metrics and split offsets stay behind. */
void data_file_copy_brief(DataFile *to, const DataFile *from);
void partition_spec_copy(PartitionSpec *to, const PartitionSpec *from);
void partition_spec_done(PartitionSpec *spec);

/* Staged pieces that nobody will commit. What is listed as dead can't be taken by a commit on the
 * head that was loaded, nor on any behind it; so a piece whose files some snapshot holds was
 * committed before, by one who died before he removed its description, and one whose files none
 * holds never was. */
#include <string.h>

#include "agent/table/stage_file.h"
#include "common/mem.h"

#define SWEPT_MAX 1000 /* at once */
#define PIECE_BYTES_MAX ((size_t)1 << 30)
#define SUFFIX ".piece"

typedef struct StagedSweep {
    int64_t before_us;
    TableStagedDead *is_dead;
    void *context;
    char **uris;
    size_t count;
} StagedSweep;

static bool see(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    (void)bytes;
    StagedSweep *sweep = context;
    const char *name = strrchr(uri, '/') + 1;
    size_t length = strlen(name), suffix = strlen(SUFFIX);
    if (modified_us >= sweep->before_us || length <= suffix ||
        strcmp(name + length - suffix, SUFFIX) != 0)
        return true;
    AUTO(mem_free) char *own = mem_strndup(name, length - suffix);
    if (!sweep->is_dead(sweep->context, own))
        return true;
    sweep->uris = mem_regrow(sweep->uris, sweep->count + 1, sizeof *sweep->uris);
    sweep->uris[sweep->count++] = mem_strdup(uri);
    return sweep->count < SWEPT_MAX;
}

/* First the description, so that nobody finds it whose files are going. One that can't be read
 * stays: it is not known what it had. */
static bool remove_piece(Table *table, const char *uri, Error *err)
{
    StageFile file;
    Error why = {0};
    Bytes object = {0};
    bool there = store_get(table->store, uri, PIECE_BYTES_MAX, &object, &why);
    if (!there && strcmp(why.code, "ObjectMissing") != 0)
        *err = why;
    bool readable = there && stage_file_decode(&object, table->iceberg, &file, &why);
    bool ok = there ? !readable || store_delete(table->store, uri, err)
                    : strcmp(why.code, "ObjectMissing") == 0;
    if (readable && ok) {
        const char **paths = mem_array((size_t)file.file_count + 1, sizeof *paths);
        for (uint32_t i = 0; i < file.file_count; i++)
            paths[i] = file.files[i].path;
        iceberg_delete_unheld(table->iceberg, paths, file.file_count);
        free(paths);
    }
    if (readable)
        stage_file_done(&file);
    bytes_done(&object);
    return ok;
}

bool table_sweep_staged(Table *table, int64_t before_us, TableStagedDead *is_dead, void *context,
                        Error *err)
{
    StagedSweep sweep = {.before_us = before_us, .is_dead = is_dead, .context = context};
    AUTO(mem_free)
    char *folder = mem_format("%s/metadata/staged/", iceberg_location(table->iceberg));
    bool ok = store_list(table->store, folder, see, &sweep, err);
    for (size_t i = 0; i < sweep.count; i++) {
        ok = ok && remove_piece(table, sweep.uris[i], err);
        free(sweep.uris[i]);
    }
    free(sweep.uris);
    return ok || error_wrap(err, "table %s.%s", table->name.database, table->name.table);
}

/* <piece's name>-<counter>.parquet */
static bool goes(void *context, const char *uri, int64_t modified_us)
{
    const StagedSweep *sweep = context;
    const char *name = strrchr(uri, '/') + 1, *end = strrchr(name, '-');
    if (modified_us >= sweep->before_us || !end)
        return false;
    AUTO(mem_free) char *own = mem_strndup(name, (size_t)(end - name));
    return sweep->is_dead(sweep->context, own);
}

bool table_sweep_undescribed(Table *table, int64_t before_us, TableStagedDead *is_dead,
                             void *context, Error *err)
{
    StagedSweep sweep = {.before_us = before_us, .is_dead = is_dead, .context = context};
    return iceberg_sweep_unheld(table->iceberg, goes, &sweep, err) ||
           error_wrap(err, "table %s.%s", table->name.database, table->name.table);
}

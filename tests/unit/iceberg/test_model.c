/* links: firn_iceberg */
/* Random commits against a naive model: which files there are, with which deletes, since when, and
 * with which row ids; and after every commit everything check.h knows. */
#include "tests/unit/iceberg/commit.h"
#include "tests/unit/iceberg/check.h"

#define STEPS 150
#define FILES_MAX 64

typedef struct ModelFile {
    DataFile file;
    uint64_t deleted; /* rows, of its one delete file; 0: none */
    DataFile deletes[8];
    size_t delete_count; /* v2: several */
} ModelFile;

typedef struct Model {
    Lake lake;
    IcebergTable *table;
    uint64_t random;
    ModelFile files[FILES_MAX];
    size_t count;
    int version; /* of what is written */
} Model;

static uint32_t dice(Model *model, uint32_t sides)
{
    model->random = model->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(model->random >> 33) % sides;
}

static void forget(Model *model, size_t at)
{
    ModelFile *file = &model->files[at];
    data_file_done(&file->file);
    for (size_t i = 0; i < file->delete_count; i++)
        data_file_done(&file->deletes[i]);
    model->files[at] = model->files[--model->count];
}

/* What one random commit does. */
typedef struct Plan {
    DataFile added[40];
    size_t added_count;
    const char *removed[FILES_MAX];
    size_t removed_count;
    size_t deletes_of[40]; /* of added[i]: index of the model's file */
    bool remove_all;
} Plan;

static void plan_deletes(Model *model, Plan *plan, const bool *removed)
{
    for (uint32_t n = dice(model, 4); n > 0 && model->count; n--) {
        size_t at = dice(model, (uint32_t)model->count);
        ModelFile *file = &model->files[at];
        bool twice = false;
        for (size_t i = 0; i < plan->added_count; i++)
            twice |= plan->added[i].content != FILE_DATA && plan->deletes_of[i] == at;
        if (twice || removed[at] || file->deleted >= file->file.record_count ||
            file->delete_count == ARRAY_LEN(file->deletes))
            continue;
        uint32_t more = 1 + dice(model, (uint32_t)(file->file.record_count - file->deleted));
        plan->deletes_of[plan->added_count] = at;
        plan->added[plan->added_count++] =
            model->version >= 3
                ? lake_vector(model->table, &file->file, (uint32_t)file->deleted + more)
                : lake_deletes(model->table, &file->file, more);
    }
}

static void make_plan(Model *model, Plan *plan)
{
    static const char *const countries[] = {"de", "fr", NULL, ""};
    bool removed[FILES_MAX] = {false};
    *plan = (Plan){.remove_all = dice(model, 40) == 0};
    for (size_t i = 0; i < model->count && !plan->remove_all; i++) {
        removed[i] = dice(model, model->count > FILES_MAX - 10 ? 2 : 25) == 0;
        if (removed[i])
            plan->removed[plan->removed_count++] = model->files[i].file.path;
    }
    for (uint32_t n = dice(model, 4); n > 0 && model->count + 5 < FILES_MAX; n--)
        plan->added[plan->added_count++] =
            lake_data_file(model->table, countries[dice(model, 4)], 1 + dice(model, 100));
    if (!plan->remove_all)
        plan_deletes(model, plan, removed);
}

/* The model after the commit took effect. */
static void apply(Model *model, Plan *plan)
{
    bool v3 = model->version >= 3;
    for (size_t i = 0; i < plan->added_count; i++) {
        DataFile *added = &plan->added[i];
        assert_int_equal(added->sequence_number, model->table->entry.version - 1);
        if (added->content == FILE_DATA)
            continue;
        ModelFile *of = &model->files[plan->deletes_of[i]];
        while (v3 && of->delete_count)
            data_file_done(&of->deletes[--of->delete_count]);
        of->deletes[of->delete_count++] = *added;
        of->deleted = v3 ? added->record_count : of->deleted + added->record_count;
    }
    for (size_t i = model->count; i-- > 0;) {
        bool gone = plan->remove_all;
        for (size_t r = 0; r < plan->removed_count && !gone; r++)
            gone = plan->removed[r] == model->files[i].file.path;
        if (gone) {
            for (size_t r = 0; r < plan->removed_count; r++)
                if (plan->removed[r] == model->files[i].file.path)
                    plan->removed[r] = NULL;
            forget(model, i);
        }
    }
    for (size_t i = 0; i < plan->added_count; i++)
        if (plan->added[i].content == FILE_DATA)
            model->files[model->count++] = (ModelFile){.file = plan->added[i]};
}

static void same_file(const DataFile *is, const DataFile *wanted)
{
    assert_non_null(is);
    assert_int_equal(is->record_count, wanted->record_count);
    assert_int_equal(is->file_bytes, wanted->file_bytes);
    assert_int_equal(is->sequence_number, wanted->sequence_number);
    assert_int_equal(is->first_row_id, wanted->first_row_id);
    assert_int_equal(is->content_offset, wanted->content_offset);
    assert_int_equal(is->partition_count, wanted->partition_count);
    for (size_t i = 0; i < is->partition_count; i++)
        assert_int_equal(value_compare(&is->partition[i], &wanted->partition[i]), 0);
}

static void compare(Model *model, IcebergTable *table)
{
    Head head;
    head_read(table, &head);
    size_t wanted = model->count;
    for (size_t i = 0; i < model->count; i++) {
        const ModelFile *file = &model->files[i];
        same_file(head_find(&head, FILE_DATA, file->file.path), &file->file);
        wanted += file->delete_count;
        for (size_t d = 0; d < file->delete_count; d++) {
            const DataFile *found = NULL;
            for (size_t h = 0; h < head.count && !found; h++)
                if (strcmp(head.files[h].path, file->deletes[d].path) == 0)
                    found = &head.files[h];
            same_file(found, &file->deletes[d]);
        }
    }
    assert_int_equal(head.count, wanted);
    head_done(&head);
}

/* A table that was raised: files of before have row ids now, which nobody can foretell. */
static void learn_row_ids(Model *model)
{
    Head head;
    head_read(model->table, &head);
    for (size_t i = 0; i < model->count && model->version >= 3; i++) {
        DataFile *file = &model->files[i].file;
        const DataFile *found = head_find(&head, FILE_DATA, file->path);
        if (file->first_row_id < 0 && found)
            file->first_row_id = found->first_row_id;
    }
    head_done(&head);
}

/* Sometimes somebody else commits first: then this handle loses, and nothing of it is left. */
static void lose_a_race(Model *model)
{
    IcebergTable *other = lake_load(&model->lake);
    iceberg_set_retention(other, &model->table->retention);
    int64_t snapshot;
    IcebergCommit commit = {0};
    OK(commit_once(other, &commit, &snapshot, &err));
    size_t objects = model->lake.memory->count;
    Error refusal = {0};
    assert_false(commit_once(model->table, &commit, &snapshot, &refusal));
    assert_int_equal(refusal.kind, ERROR_CONFLICT);
    assert_int_equal(model->lake.memory->count, objects);
    bool changed;
    OK(iceberg_table_refresh(model->table, &changed, &err));
    assert_true(changed);
    iceberg_table_free(other);
}

static void reopen(Model *model)
{
    IcebergRetention retention = model->table->retention;
    iceberg_table_free(model->table);
    model->table = lake_load(&model->lake);
    iceberg_set_retention(model->table, &retention);
}

static void step(Model *model)
{
    Plan plan;
    make_plan(model, &plan);
    int64_t snapshot;
    IcebergCommit commit = {.added = plan.added,
                            .added_count = plan.added_count,
                            .removed = plan.removed,
                            .removed_count = plan.removed_count,
                            .remove_all = plan.remove_all,
                            .format_version = model->version};
    lake_age(model->table, dice(model, 60) == 0 ? 90000000 : dice(model, 1200000));
    if (dice(model, 30) == 0)
        model->lake.shaky->answer = ANSWER_LOST;
    OK(commit_once(model->table, &commit, &snapshot, &err));
    assert_int_equal(snapshot, iceberg_current_snapshot(model->table));
    assert_int_equal(iceberg_format_version(model->table), model->version);
    assert_int_equal(iceberg_has_row_ids(model->table), model->version >= 3);
    apply(model, &plan);
    learn_row_ids(model);
    if (dice(model, 4) == 0) /* what it finds once it would find later, too */
        check_table(model->table, true);
    else
        check_head(model->table);
    compare(model, model->table);
    if (dice(model, 10) == 0)
        lose_a_race(model);
    if (dice(model, 10) == 0)
        reopen(model);
}

static void run(int format_version, int raised_to, const char *partition_by, uint64_t seed)
{
    Model model = {.random = seed, .version = format_version};
    lake_open(&model.lake);
    lake_create(&model.lake, format_version, partition_by);
    model.table = model.lake.table;
    model.lake.table = NULL;
    IcebergRetention retention = {.all_ms = 3600000,
                                  .hourly_ms = 20 * 3600000,
                                  .daily_ms = 5 * 86400000,
                                  .metadata_files = 5,
                                  .merge_manifests = 4,
                                  .manifest_bytes = 20000};
    iceberg_set_retention(model.table, &retention);
    for (int i = 0; i < STEPS; i++) {
        if (i == STEPS / 3)
            model.version = raised_to;
        step(&model);
    }
    size_t snapshots = json_array_size(json_object_get(model.table->metadata, "snapshots"));
    assert_in_range(snapshots, 5, 60); /* it was thinned */
    while (model.count)
        forget(&model, 0);
    iceberg_table_free(model.table);
    lake_done(&model.lake);
}

static void test_v2(void **state)
{
    (void)state;
    run(2, 2, NULL, 1);
    run(2, 2, "country", 2);
}

static void test_v3(void **state)
{
    (void)state;
    run(3, 3, NULL, 3);
    run(3, 3, "country", 4);
}

static void test_raised(void **state)
{
    (void)state;
    for (uint64_t seed = 5; seed < 9; seed++)
        run(2, 3, seed & 1 ? NULL : "country", seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_v2), cmocka_unit_test(test_v3),
                                       cmocka_unit_test(test_raised)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* links: firn_iceberg */
/* A byte is wrong in a manifest or in a manifest list: what is read is what was written, or DATA;
 * and each of the reasons for which they are refused comes up. */
#include "tests/unit/iceberg/commit.h"
#include "tests/unit/iceberg/memory.h"

typedef struct Reason {
    const char *code;
    bool came;
} Reason;

static bool count_file(const DataFile *file, void *context, Error *err)
{
    (void)file, (void)err;
    ++*(size_t *)context;
    return true;
}

static void look(Lake *lake, Reason *reasons, size_t count)
{
    Error err = {0};
    size_t files = 0;
    AUTO(iceberg_table_free) IcebergTable *table = lake_load(lake);
    if (iceberg_each_file(table, count_file, &files, &err))
        return;
    assert_int_equal(err.kind, ERROR_DATA);
    for (size_t i = 0; i < count; i++)
        if (strcmp(err.code, reasons[i].code) == 0)
            reasons[i].came = true;
}

static void wrong_bytes(void **state)
{
    (void)state;
    static const uint8_t masks[] = {0x01, 0x03, 0x41};
    Reason reasons[] = {{.code = "BadAvro"}, {.code = "BadManifest"}, {.code = "BadManifestList"}};
    Lake lake;
    lake_open(&lake);
    lake_create(&lake, 2, "country");
    lake_append(lake.table, 10);
    for (size_t i = 0; i < lake.memory->count; i++) {
        Object *object = &lake.memory->objects[i];
        if (!strstr(object->uri, ".avro"))
            continue;
        for (size_t at = 0; at < object->data.used; at++)
            for (size_t m = 0; m < ARRAY_LEN(masks); m++) {
                object->data.data[at] ^= masks[m];
                look(&lake, reasons, ARRAY_LEN(reasons));
                object->data.data[at] ^= masks[m];
            }
    }
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (!reasons[i].came)
            fail_msg("no wrong byte makes a %s", reasons[i].code);
    lake_done(&lake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

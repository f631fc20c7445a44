/* links: firn_common */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/manifest/manifest.h"
#include "common/mem.h"

static void print_findings(const Findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        print_message("%s:%d: %s %s: %s\n", findings->items[i].file, findings->items[i].line,
                      findings->items[i].object, findings->items[i].path,
                      findings->items[i].message);
}

static Manifest *load_file(const char *file, const char *secrets_folder)
{
    ManifestOptions options = {.files = &file, .file_count = 1, .secrets_folder = secrets_folder};
    Manifest *manifest;
    Findings findings;
    if (!manifest_load(&options, true, &manifest, &findings))
        print_findings(&findings);
    assert_int_equal(findings.count, 0);
    findings_done(&findings);
    return manifest;
}

static void whole_manifest(void **state)
{
    (void)state;
    Manifest *manifest = load_file(GOLDEN "/manifest/shop.yaml", NULL);
    assert_int_equal(manifest->connector_count, 1);
    const ConnectorSpec *connector = &manifest->connectors[0];
    assert_string_equal(connector->meta.name, "shop");
    assert_string_equal(connector->meta.namespace_name, "retail");
    assert_int_equal(connector->meta.line, 16);
    assert_string_equal(connector->meta.file, GOLDEN "/manifest/shop.yaml");
    assert_int_equal(connector->state, STATE_RUNNING);
    assert_int_equal(connector->source_type, SOURCE_POSTGRESQL);
    assert_int_equal(connector->hosts.count, 1);
    assert_string_equal(connector->hosts.texts[0], "db.example");
    assert_int_equal(connector->port, 6543);
    assert_string_equal(connector->database, "shop");
    assert_int_equal(connector->tls_mode, TLS_REQUIRE);
    assert_int_equal(connector->include.count, 1);
    assert_string_equal(connector->exclude.texts[0], "public.*_tmp");
    assert_int_equal(connector->snapshot_mode, SNAPSHOT_INITIAL);
    assert_int_equal(connector->snapshot_parallelism, 2);
    assert_int_equal(connector->snapshot_rows_per_second, 0);
    assert_int_equal(connector->heartbeat_interval_ms, 5000);
    assert_null(connector->heartbeat_table);
    assert_string_equal(connector->pg_slot, "firn_shop");
    assert_string_equal(connector->pg_publication, "firn_shop");
    assert_true(connector->pg_manage);
    assert_string_equal(connector->username, "firn");
    assert_string_equal(connector->password, "s3cret");
    assert_null(connector->ca_pem);

    assert_int_equal(manifest->table_count, 1);
    const LakeTableSpec *table = &manifest->tables[0];
    assert_int_equal(table->catalog_type, CATALOG_DIRECTORY);
    assert_string_equal(table->warehouse, "file:///lake");
    assert_string_equal(table->database, "retail");
    assert_string_equal(table->table_name, "orders");
    assert_null(table->location);
    assert_int_equal(table->format_version, 3);
    assert_int_equal(table->mode, MODE_UPSERT);
    assert_int_equal(table->id_columns.count, 1);
    assert_int_equal(table->partition_by.count, 2);
    assert_string_equal(table->partition_by.texts[1], "bucket(16, id)");
    assert_int_equal(table->commit_interval_ms, 10000);
    assert_int_equal(table->file_target_bytes, 64 << 20);
    assert_int_equal(table->zstd_level, 5);
    assert_int_equal(table->expire.older_than_ms, 5 * 86400000LL);
    assert_int_equal(table->expire.retain_last, 20);
    assert_true(table->drop_on_delete);

    assert_int_equal(manifest->unit_count, 3);
    const IngestionUnitSpec *unit = &manifest->units[0];
    assert_string_equal(unit->connector, "shop");
    assert_string_equal(unit->table, "public.orders");
    assert_string_equal(unit->lake_table, "orders");
    assert_null(unit->lake);
    assert_int_equal(unit->freshness_ms, 3600000);
    assert_ptr_equal(manifest_find_table(manifest, "retail", unit->lake_table), table);
    assert_ptr_equal(manifest_find_connector(manifest, "retail", "shop"), connector);
    assert_null(manifest_find_table(manifest, "default", "orders"));
    assert_null(manifest_find_connector(manifest, "retail", "shoo"));
    manifest_free(manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_manifest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

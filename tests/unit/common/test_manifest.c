/* links: firn_common */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/manifest/manifest.h"
#include "common/bytes.h"
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
    assert_string_equal(connector->pg_slot, "firn_shop");
    assert_string_equal(connector->pg_publication, "firn_shop");
    assert_true(connector->pg_manage);
    assert_string_equal(connector->username, "firn");
    assert_string_equal(connector->password, "s3cret");
    assert_null(connector->ca_pem);

    assert_int_equal(manifest->table_count, 1);
    const LakeTableSpec *table = &manifest->tables[0];
    assert_int_equal(table->catalog.type, CATALOG_DIRECTORY);
    assert_string_equal(table->catalog.warehouse, "file:///lake");
    assert_string_equal(table->database, "retail");
    assert_string_equal(table->table_name, "orders");
    assert_null(table->location);
    assert_int_equal(table->format_version, 3);
    assert_int_equal(table->mode, MODE_UPSERT);
    assert_int_equal(table->id_columns.count, 1);
    assert_int_equal(table->columns.count, 2);
    assert_string_equal(table->columns.items[0].type, "string");
    assert_null(table->columns.items[0].doc);
    assert_string_equal(table->columns.items[1].name, "total");
    assert_string_equal(table->columns.items[1].doc, "in euros");
    assert_int_equal(table->partition_by.count, 2);
    assert_string_equal(table->partition_by.texts[1], "bucket(16, id)");
    assert_int_equal(table->commit_interval_ms, 10000);
    assert_int_equal(table->file_target_bytes, 64 << 20);
    assert_int_equal(table->zstd_level, 5);
    assert_int_equal(table->expire_older_than_ms, 5 * 86400000LL);
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

/* What stands in no field has the API's defaults. */
static void defaults(void **state)
{
    (void)state;
    static const char text[] =
        "{apiVersion: firn.dev/v1alpha1, kind: Connector, metadata: {name: a-shop.x},\n"
        " spec: {source: {type: PostgreSQL, host: [a, /run/pg, '::1'], database: shop,\n"
        "  tls: null, credentialsSecretRef: {name: s}}, stream: null, piiColumns: []}}\n"
        "---\n"
        "{apiVersion: firn.dev/v1alpha1, kind: LakeTable, metadata: {name: t},\n"
        " spec: {location: /lake/t, database: d, tableName: t}, status: {x: [1]}}\n"
        "---\n"
        "{apiVersion: firn.dev/v1alpha1, kind: IngestionUnit, metadata: {name: u},\n"
        " spec: {connectorRef: {name: a-shop.x, table: s.t}, lakeTableRef: {name: t}}}\n";
    Manifest *manifest;
    Findings findings;
    if (!manifest_parse("text", text, sizeof text - 1, &manifest, &findings))
        print_findings(&findings);
    assert_int_equal(findings.count, 0);
    const ConnectorSpec *connector = &manifest->connectors[0];
    assert_string_equal(connector->meta.namespace_name, "default");
    assert_int_equal(connector->meta.line, 1);
    assert_int_equal(connector->hosts.count, 3);
    assert_string_equal(connector->hosts.texts[2], "::1");
    assert_int_equal(connector->port, 5432);
    assert_int_equal(connector->tls_mode, TLS_PREFER);
    assert_int_equal(connector->include.count, 0);
    assert_int_equal(connector->snapshot_mode, SNAPSHOT_INITIAL);
    assert_int_equal(connector->snapshot_parallelism, 4);
    assert_int_equal(connector->heartbeat_interval_ms, 10000);
    assert_string_equal(connector->pg_slot, "firn_a_shop_x");
    assert_string_equal(connector->pg_publication, "firn_a_shop_x");
    assert_true(connector->pg_manage);
    assert_null(connector->username);
    assert_null(connector->password);
    const LakeTableSpec *table = &manifest->tables[0];
    assert_int_equal(table->catalog.type, CATALOG_DIRECTORY);
    assert_null(table->catalog.warehouse);
    assert_string_equal(table->location, "/lake/t");
    assert_int_equal(table->format_version, 2);
    assert_int_equal(table->mode, MODE_UPSERT);
    assert_int_equal(table->id_columns.count, 0);
    assert_int_equal(table->commit_interval_ms, 30000);
    assert_int_equal(table->file_target_bytes, 256 << 20);
    assert_int_equal(table->zstd_level, 3);
    assert_int_equal(table->expire_older_than_ms, 0);
    assert_false(table->drop_on_delete);
    const IngestionUnitSpec *unit = &manifest->units[0];
    assert_int_equal(unit->state, STATE_RUNNING);
    assert_int_equal(unit->tables.count, 0);
    assert_int_equal(unit->freshness_ms, 0);
    manifest_free(manifest);
    manifest_free(NULL);
}

/* A slot's name has 63 bytes at most, however long the Connector's. */
static void long_names(void **state)
{
    (void)state;
    static const char text[] =
        "{apiVersion: firn.dev/v1alpha1, kind: Connector, metadata: {name: "
        "a23456789-123456789-123456789-123456789-123456789-123456789-123456789},\n"
        " spec: {source: {type: PostgreSQL, host: a, database: b, credentialsSecretRef: {name: "
        "s}}}}";
    Manifest *manifest;
    Findings findings;
    assert_true(manifest_parse("text", text, sizeof text - 1, &manifest, &findings));
    assert_string_equal(manifest->connectors[0].pg_slot,
                        "firn_a23456789_123456789_123456789_123456789_123456789_12345678");
    assert_int_equal(strlen(manifest->connectors[0].pg_slot), 63);
    manifest_free(manifest);
}

/* --- outsourcing units --- */

static void outsourced_table(void **state)
{
    (void)state;
    Manifest *manifest = load_file(GOLDEN "/manifest/shop.yaml", NULL);
    const IngestionUnitSpec *unit = &manifest->units[1];
    assert_string_equal(unit->meta.name, "customers");
    assert_null(unit->lake_table);
    assert_non_null(unit->lake);
    assert_string_equal(unit->lake->meta.name, "customers");
    assert_string_equal(unit->lake->meta.namespace_name, "retail");
    assert_string_equal(unit->lake->database, "public"); /* the source's names, unless given */
    assert_string_equal(unit->lake->table_name, "customers");
    assert_string_equal(unit->lake->catalog.warehouse, "/lake");
    assert_int_equal(unit->lake->mode, MODE_APPEND);
    assert_int_equal(unit->lake->format_version, 2);
    LakeTableSpec *table;
    AUTO(mem_free) char *name = NULL;
    assert_true(manifest_expand(unit, "public", "customers", &table, &name, NULL));
    assert_string_equal(name, "customers");
    assert_string_equal(table->table_name, "customers");
    assert_int_equal(table->mode, MODE_APPEND);
    lake_table_free(table);
    Error err;
    assert_false(manifest_expand(&manifest->units[0], "public", "orders", &table, &name, &err));
    assert_string_equal(err.code, "NoTable");
    manifest_free(manifest);
}

static void patterns_make_tables(void **state)
{
    (void)state;
    Manifest *manifest = load_file(GOLDEN "/manifest/shop.yaml", NULL);
    const IngestionUnitSpec *unit = &manifest->units[2];
    assert_int_equal(unit->tables.count, 2);
    assert_string_equal(unit->lake->database, "raw_{schema}");
    assert_string_equal(unit->lake->table_name, "{table}");
    /* Plain names stay readable; all others get a hash, so that no two are one. */
    static const char *const cases[][4] = {
        {"public", "orders", "rest-public-orders", "raw_public"},
        {"public", "order_lines", "rest-public-order-lines", "raw_public"},
        {"public", "order-lines", "rest-public-order-lines-", "raw_public"},
        {"public", "Orders", "rest-public-orders-", "raw_public"},
        {"public_order", "lines", "rest-public-order-lines-", "raw_public_order"},
        {"public", "order__lines", "rest-public-order--lines-", "raw_public"},
        {"public", "_orders", "rest-public--orders-", "raw_public"},
        {"public", "{schema}", "rest-public--schema-", "raw_public"},
        {"public", "é", "rest-public-", "raw_public"},
        {"public", "a_table_whose_name_is_as_long_as_postgresql_lets_it_be_12345678",
         "rest-public-a-table-whose-name-is-as-long-as-postgresq-", "raw_public"},
    };
    char names[ARRAY_LEN(cases)][64];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        LakeTableSpec *table;
        char *name;
        Error err;
        assert_true(manifest_expand(unit, cases[i][0], cases[i][1], &table, &name, &err));
        size_t bytes = strlen(cases[i][2]);
        assert_memory_equal(name, cases[i][2], bytes);
        if (cases[i][2][bytes - 1] == '-')
            assert_int_equal(strlen(name), bytes + 8);
        else
            assert_string_equal(name, cases[i][2]);
        assert_true(strlen(name) <= 63);
        assert_string_equal(table->database, cases[i][3]);
        assert_string_equal(table->table_name, cases[i][1]);
        assert_string_equal(table->meta.name, name);
        assert_string_equal(table->meta.namespace_name, "retail");
        strcpy(names[i], name);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(names[i], names[j]);
        lake_table_free(table);
        free(name);
    }
    LakeTableSpec *table;
    char *name;
    Error err;
    static const char *const bad[] = {"a/b", "..", "", "a\nb"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(manifest_expand(unit, "public", bad[i], &table, &name, &err));
        assert_int_equal(err.kind, ERROR_CONFIG);
        assert_string_equal(err.code, "BadTableName");
    }
    manifest_free(manifest);
}

static void pattern_matching(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"public.orders", "public.orders", true},
        {"public.orders", "public.orders2", false},
        {"public.orders", "public.order", false},
        {"public.*", "public.", true},
        {"public.*", "public.orders", true},
        {"public.*", "publics.orders", false},
        {"public.order_?", "public.order_1", true},
        {"public.order_?", "public.order_12", false},
        {"public.order_?", "public.order_é", true},
        {"*.orders", "shop.orders", true},
        {"*.*_tmp", "a.b_tmp_tmp", true},
        {"*.*_tmp", "a.b_tmp_", false},
        {"*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
        {"**", "", true},
        {"?", "", false},
        {"Public.*", "public.a", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (manifest_pattern_matches(cases[i].pattern, cases[i].name) != cases[i].matches)
            fail_msg("%s against %s", cases[i].pattern, cases[i].name);
}

static void tables_are_chosen(void **state)
{
    (void)state;
    char all[] = "shop.*", orders[] = "shop.orders", passing[] = "*.*_tmp";
    char *included[] = {orders, all}, *excluded[] = {passing};
    ConnectorSpec spec = {0};
    assert_false(manifest_patterns_match(&spec.include, "shop.orders"));
    assert_true(manifest_chooses(&spec, "shop.orders")); /* nothing is said: all */
    spec.exclude = (TextList){excluded, 1};
    assert_true(manifest_chooses(&spec, "shop.orders"));
    assert_false(manifest_chooses(&spec, "shop.orders_tmp"));
    spec.include = (TextList){included, 1};
    assert_true(manifest_chooses(&spec, "shop.orders"));
    assert_false(manifest_chooses(&spec, "shop.lines"));
    spec.include.count = 2;
    assert_true(manifest_chooses(&spec, "shop.lines"));
    assert_false(manifest_chooses(&spec, "shop.lines_tmp"));
    assert_false(manifest_chooses(&spec, "other.lines"));
}

/* --- files and Secrets --- */

static char folder[64];

static void write_file(const char *name, const char *text)
{
    AUTO(mem_free) char *path = mem_format("%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void make_folder(const char *name)
{
    AUTO(mem_free) char *path = mem_format("%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/firn-manifest-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    AUTO(mem_free) char *command = mem_format("rm -r '%s'", folder);
    return system(command);
}

#define CONNECTOR                                                                                  \
    "apiVersion: firn.dev/v1alpha1\nkind: Connector\nmetadata: {name: shop}\nspec:\n  source:\n"   \
    "    {type: PostgreSQL, host: db, database: shop, credentialsSecretRef: {name: shop-db}}\n"
#define TABLE                                                                                      \
    "apiVersion: firn.dev/v1alpha1\nkind: LakeTable\nmetadata: {name: orders}\nspec:\n"            \
    "  {location: /lake, database: retail, tableName: orders}\n"
#define UNIT                                                                                       \
    "apiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\nmetadata: {name: orders}\nspec:\n"        \
    "  {connectorRef: {name: shop, table: public.orders}, lakeTableRef: {name: orders}}\n"

static bool load_folder(bool secrets_there, Manifest **ret, Findings *findings)
{
    AUTO(mem_free) char *manifests = mem_format("%s/manifests", folder);
    AUTO(mem_free) char *secrets = mem_format("%s/secrets", folder);
    const char *files[] = {manifests};
    ManifestOptions options = {
        .files = files, .file_count = 1, .secrets_folder = secrets_there ? secrets : NULL};
    return manifest_load(&options, true, ret, findings);
}

/* References go across files; a folder's *.yaml are read, and nothing else of it. */
static void secrets_from_a_folder(void **state)
{
    (void)state;
    make_folder("manifests");
    write_file("manifests/1.yaml", UNIT);
    write_file("manifests/2.yaml", CONNECTOR "---\n" TABLE);
    write_file("manifests/.hidden.yaml", "{");
    write_file("manifests/readme.md", "{");
    make_folder("secrets");
    Manifest *manifest;
    Findings findings;

    assert_false(load_folder(false, &manifest, &findings));
    assert_int_equal(findings.count, 1);
    assert_int_equal(findings.items[0].line, 6);
    assert_string_equal(findings.items[0].path, "spec.source.credentialsSecretRef.name");
    assert_string_equal(
        findings.items[0].message,
        "Secret shop-db with key username is in none of the files: add a document of kind Secret, "
        "or write the value to DIR/shop-db/username and give --secrets DIR");
    findings_done(&findings);

    assert_false(load_folder(true, &manifest, &findings));
    assert_non_null(strstr(findings.items[0].message, "is in none of the files and not in "));
    findings_done(&findings);

    make_folder("secrets/shop-db");
    write_file("secrets/shop-db/username", "firn\n");
    assert_false(load_folder(true, &manifest, &findings));
    assert_non_null(strstr(findings.items[0].message, "key password"));
    findings_done(&findings);

    write_file("secrets/shop-db/password", "hunter2 \n\n");
    assert_true(load_folder(true, &manifest, &findings));
    assert_string_equal(manifest->connectors[0].username, "firn");
    assert_string_equal(manifest->connectors[0].password, "hunter2 \n");
    manifest_free(manifest);

    /* A document goes before the folder. */
    write_file("manifests/3.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: shop-db}\n"
                                   "data: {password: aHVudGVyMw==}\n");
    assert_true(load_folder(true, &manifest, &findings));
    assert_string_equal(manifest->connectors[0].username, "firn");
    assert_string_equal(manifest->connectors[0].password, "hunter3");
    manifest_free(manifest);

    assert_false(load_folder(false, &manifest, &findings));
    AUTO(mem_free)
    char *expected = mem_format("Secret shop-db (%s/manifests/3.yaml:1) has no key username: "
                                "add it under stringData",
                                folder);
    assert_string_equal(findings.items[0].message, expected);
    findings_done(&findings);

    write_file("manifests/3.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: shop-db}\n"
                                   "data: {username: AGE=, password: \"\"}\n");
    assert_false(load_folder(true, &manifest, &findings));
    assert_int_equal(findings.count, 1);
    assert_non_null(strstr(findings.items[0].message, "holds a NUL byte"));
    findings_done(&findings);
}

#define PEM(what) "-----BEGIN " what "-----\\nx\\n-----END " what "-----\\n"

/* Beside a password, or in its place. */
static void certificates_of_the_client(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *mode, *finding; /* NULL: none */
        bool password;
    } cases[] = {
        {"tls.crt: \"" PEM("CERTIFICATE") "\", tls.key: \"" PEM("PRIVATE KEY") "\"", "Require",
         NULL, false},
        {"password: p, tls.crt: \"" PEM("CERTIFICATE") "\", tls.key: \"" PEM("EC PRIVATE KEY") "\"",
         "Prefer", NULL, true},
        {"tls.crt: \"" PEM("CERTIFICATE") "\"", "Require", "has no key tls.key", false},
        {"password: p, tls.key: \"" PEM("PRIVATE KEY") "\"", "Require", "has no key tls.crt", true},
        {"tls.crt: hunter2, tls.key: \"" PEM("PRIVATE KEY") "\"", "Require",
         "key tls.crt of Secret s holds no certificate in PEM form", false},
        {"tls.crt: \"" PEM("CERTIFICATE") "\", tls.key: hunter2", "Require",
         "key tls.key of Secret s holds no private key in PEM form", false},
        {"tls.crt: \"" PEM("CERTIFICATE") "\", tls.key: \"" PEM("PRIVATE KEY") "\"", "Disable",
         "Disable never shows the certificate that Secret s has", false},
        {"ca.crt: x", "Require", "has no key password", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(mem_free)
        char *text = mem_format(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
            "stringData: {username: u, %s}\n---\n"
            "apiVersion: firn.dev/v1alpha1\nkind: Connector\nmetadata: {name: shop}\nspec:\n"
            "  source: {type: PostgreSQL, host: db, database: shop,\n"
            "    credentialsSecretRef: {name: s}, tls: {mode: %s}}",
            cases[i].keys, cases[i].mode);
        write_file("client.yaml", text);
        AUTO(mem_free) char *path = mem_format("%s/client.yaml", folder);
        const char *files[] = {path};
        ManifestOptions options = {.files = files, .file_count = 1};
        Manifest *manifest;
        Findings findings;
        bool good = manifest_load(&options, true, &manifest, &findings);
        assert_int_equal(good, !cases[i].finding);
        assert_int_equal(findings.count, good ? 0 : 1);
        if (good) {
            const ConnectorSpec *connector = &manifest->connectors[0];
            assert_int_equal(connector->password != NULL, cases[i].password);
            assert_non_null(strstr(connector->client_pem, "BEGIN CERTIFICATE"));
            assert_non_null(strstr(connector->client_key_pem, "PRIVATE KEY"));
            manifest_free(manifest);
        } else {
            assert_non_null(strstr(findings.items[0].message, cases[i].finding));
            assert_null(strstr(findings.items[0].message, "hunter2"));
        }
        findings_done(&findings);
    }
}

static void authorities(void **state)
{
    (void)state;
    static const char *const pems[] = {
        "-----BEGIN CERTIFICATE-----\\nx\\n-----END CERTIFICATE-----\\n", "hunter2"};
    for (size_t i = 0; i < ARRAY_LEN(pems); i++) {
        AUTO(mem_free)
        char *text = mem_format(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
            "stringData: {username: u, password: \"\", ca.crt: \"%s\"}\n---\n"
            "apiVersion: firn.dev/v1alpha1\nkind: Connector\nmetadata: {name: shop}\nspec:\n"
            "  source: {type: PostgreSQL, host: db, database: shop,\n"
            "    credentialsSecretRef: {name: s}, tls: {mode: VerifyFull, caSecretRef: {name: s}}}",
            pems[i]);
        write_file("ca.yaml", text);
        AUTO(mem_free) char *path = mem_format("%s/ca.yaml", folder);
        const char *files[] = {path};
        ManifestOptions options = {.files = files, .file_count = 1};
        Manifest *manifest;
        Findings findings;
        bool good = manifest_load(&options, true, &manifest, &findings);
        assert_int_equal(good, i == 0);
        if (good) {
            assert_string_equal(manifest->connectors[0].ca_pem,
                                "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n");
            assert_string_equal(manifest->connectors[0].password, "");
            manifest_free(manifest);
        } else {
            assert_int_equal(findings.items[0].line, 11);
            assert_string_equal(findings.items[0].message,
                                "key ca.crt of Secret s holds no certificate in PEM form");
        }
        findings_done(&findings);
    }
}

static void files_that_can_not_be_read(void **state)
{
    (void)state;
    make_folder("empty");
    AUTO(mem_free) char *missing = mem_format("%s/missing.yaml", folder);
    AUTO(mem_free) char *empty = mem_format("%s/empty", folder);
    const char *files[] = {missing, empty};
    ManifestOptions options = {.files = files, .file_count = 2};
    Manifest *manifest;
    Findings findings;
    assert_false(manifest_load(&options, true, &manifest, &findings));
    assert_null(manifest);
    assert_int_equal(findings.count, 2);
    assert_string_equal(findings.items[0].file, missing);
    assert_int_equal(findings.items[0].line, 0);
    assert_string_equal(findings.items[0].message, "can't be opened: No such file or directory");
    assert_string_equal(findings.items[1].message, "the folder holds no *.yaml");
    findings_done(&findings);
    assert_false(manifest_parse("nothing", "# nothing\n", 10, &manifest, &findings));
    assert_string_equal(findings.items[0].message,
                        "there is no Connector, LakeTable or IngestionUnit");
    findings_done(&findings);
}

/* How often the text stands in this process's memory, but for `buffer` and the stack (where the
 * dynamic linker saves registers). Read through the kernel, so that freed memory is seen too. */
static size_t copies_in_memory(const char *text)
{
    static char buffer[1 << 20];
    size_t found = 0, text_bytes = strlen(text);
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_true(memory >= 0 && maps);
    char line[512];
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char rights[5];
        assert_int_equal(sscanf(line, "%lx-%lx %4s", &from, &to, rights), 3);
        if (rights[1] != 'w' || strstr(line, "[stack]") || to - from > 256ul << 20)
            continue;
        for (; from < to; from += sizeof buffer - text_bytes) {
            if ((uintptr_t)buffer < to && (uintptr_t)buffer + sizeof buffer > from)
                break; /* where static variables are, no text of the manifest is */
            size_t want = to - from < sizeof buffer ? to - from : sizeof buffer;
            ssize_t got = pread(memory, buffer, want, (off_t)from);
            const char *at = buffer, *end = buffer + (got > 0 ? got : 0);
            while ((at = memmem(at, (size_t)(end - at), text, text_bytes))) {
                found++;
                at++;
            }
            if (to - from <= sizeof buffer)
                break;
        }
    }
    explicit_bzero(buffer, sizeof buffer);
    fclose(maps);
    close(memory);
    return found;
}

/* Those of catalog and store too, in what patterns make as well. */
static void lake_secrets_are_wiped(void **state)
{
    (void)state;
    AUTO(mem_free) char *path = mem_format("%s/wipe.yaml", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static const char head[] =
        CONNECTOR "---\napiVersion: firn.dev/v1alpha1\nkind: IngestionUnit\n"
                  "metadata: {name: orders}\nspec:\n"
                  "  connectorRef: {name: shop, tables: [\"a.*\"]}\n"
                  "  outsourcingUnit: {table: {catalog: {type: Rest, uri: \"http://c\",\n"
                  "    credentialsSecretRef: {name: shop-db}}}}\n"
                  "---\napiVersion: v1\nkind: Secret\nmetadata: {name: shop-db}\nstringData:\n"
                  "  username: u\n  password: p\n  credential: u:";
    char password[] = "qzvwxqzvwx"; /* as it is on the stack, which is not searched */
    assert_int_equal(write(fd, head, sizeof head - 1), sizeof head - 1);
    assert_int_equal(write(fd, password, sizeof password - 1), sizeof password - 1);
    assert_int_equal(close(fd), 0);
    const char *files[] = {path};
    ManifestOptions options = {.files = files, .file_count = 1};
    Manifest *manifest;
    Findings findings;
    assert_true(manifest_load(&options, true, &manifest, &findings));
    assert_string_equal(manifest->units[0].lake->catalog.client_secret, password);
    assert_int_equal(copies_in_memory(password), 2); /* the Secret's and the catalog's */
    LakeTableSpec *table;
    AUTO(mem_free) char *name = NULL;
    assert_true(manifest_expand(&manifest->units[0], "a", "b", &table, &name, NULL));
    assert_int_equal(copies_in_memory(password), 3);
    lake_table_free(table);
    assert_int_equal(copies_in_memory(password), 2);
    manifest_free(manifest);
    assert_int_equal(copies_in_memory(password), 0);
}

static void passwords_are_wiped(void **state)
{
    (void)state;
    AUTO(mem_free) char *path = mem_format("%s/wipe.yaml", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static const char head[] = CONNECTOR "---\napiVersion: v1\nkind: Secret\nmetadata: {name: "
                                         "shop-db}\nstringData:\n  username: u\n  password: ";
    char password[] = "qzwxvqzwxv"; /* as it is on the stack, which is not searched */
    assert_int_equal(write(fd, head, sizeof head - 1), sizeof head - 1);
    assert_int_equal(write(fd, password, sizeof password - 1), sizeof password - 1);
    assert_int_equal(close(fd), 0);
    const char *files[] = {path};
    ManifestOptions options = {.files = files, .file_count = 1};
    Manifest *manifest;
    Findings findings;
    assert_true(manifest_load(&options, true, &manifest, &findings));
    assert_string_equal(manifest->connectors[0].password, password);
    assert_int_equal(copies_in_memory(password), 2); /* the Secret's and the Connector's */
    manifest_free(manifest);
    assert_int_equal(copies_in_memory(password), 0);
}

/* A list of kubectl's, and findings of several files in order. */
static void lists_and_order(void **state)
{
    (void)state;
    static const char text[] =
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: firn.dev/v1alpha1, kind: LakeTable, metadata: {name: a},\n"
        "   spec: {location: /a, database: d, tableName: t, mode: X}}\n"
        "- {apiVersion: firn.dev/v1alpha1, kind: LakeTable, metadata: {name: b},\n"
        "   spec: {location: /a, database: d, tableName: t, mode: Y}}\n";
    Manifest *manifest;
    Findings findings;
    assert_false(manifest_parse("text", text, sizeof text - 1, &manifest, &findings));
    assert_int_equal(findings.count, 3);
    assert_string_equal(findings.items[0].object, "LakeTable/a");
    assert_int_equal(findings.items[0].line, 5);
    assert_string_equal(findings.items[1].object, "LakeTable/b");
    assert_string_equal(findings.items[1].path, "spec.mode");
    assert_string_equal(findings.items[2].message,
                        "\"/a\" is the place of LakeTable a already: two tables can't share a "
                        "folder");
    findings_done(&findings);
}

/* However wrong a file is, the list of findings ends. */
static void findings_are_limited(void **state)
{
    (void)state;
    Bytes text = {0};
    for (int i = 0; i < 1500; i++)
        bytes_put(&text, "---\nkind\n", 9);
    Manifest *manifest;
    Findings findings;
    assert_false(manifest_parse("text", (const char *)text.data, text.used, &manifest, &findings));
    assert_int_equal(findings.count, 1001);
    assert_string_equal(findings.items[0].message,
                        "there are more than 1000 findings: the others are not shown");
    findings_done(&findings);
    bytes_done(&text);
}

static void refused_request(const char *text, const char *why)
{
    CopyRequest request;
    Error err = {0};
    assert_false(copy_request_parse(text, &request, &err));
    assert_string_equal(err.code, "BadRequest");
    assert_non_null(strstr(err.message, why));
    assert_null(request.id);
    assert_int_equal(request.tables.count, 0);
}

static void refused_unit_request(UnitRequestKind kind, const char *text, const char *why)
{
    UnitRequest request;
    Error err = {0};
    assert_false(unit_request_parse(kind, text, &request, &err));
    assert_string_equal(err.code, "BadRequest");
    if (!strstr(err.message, why))
        fail_msg("'%s' does not say '%s'", err.message, why);
    assert_null(request.target);
    assert_int_equal(request.offsets.count, 0);
}

/* firn.dev/rollback, firn.dev/positions */
static void unit_requests(void **state)
{
    (void)state;
    UnitRequest request;
    Error err;
    assert_true(unit_request_parse(UNIT_ROLLBACK, " 8123  one alice\n", &request, &err));
    assert_int_equal(request.snapshot, 8123);
    assert_int_equal(request.at_ms, INT64_MIN);
    assert_string_equal(request.id, "one");
    assert_string_equal(request.by, "alice");
    assert_string_equal(request.target, "8123");
    unit_request_done(&request);
    assert_true(unit_request_parse(UNIT_ROLLBACK, "1970-01-01T00:00:01Z", &request, &err));
    assert_int_equal(request.at_ms, 1000);
    assert_int_equal(request.snapshot, 0);
    assert_int_equal(strlen(request.id), 16);
    unit_request_done(&request);
    assert_true(unit_request_parse(UNIT_POSITIONS, "3:17,0:4 x", &request, &err));
    assert_int_equal(request.offsets.count, 2);
    assert_int_equal(request.offsets.items[0].partition, 3);
    assert_int_equal(request.offsets.items[0].offset, 17);
    assert_false(request.latest);
    unit_request_done(&request);
    assert_true(unit_request_parse(UNIT_POSITIONS, "Latest x", &request, &err));
    assert_true(request.latest);
    unit_request_done(&request);
    assert_true(unit_request_parse(UNIT_POSITIONS, "Earliest x", &request, &err));
    assert_false(request.latest || request.offsets.count || request.at_ms != INT64_MIN);
    unit_request_done(&request);
    static const char *const nowhere[] = {
        "",     "0",       "-5",   "latest", "1:",
        ":1",   "1:2,1:3", "1:-2", "1:2,",   "4294967296:1",
        "1:+2", "1:2;3:4", "0x1",  "1.5",    "1:9223372036854775808"};
    for (size_t i = 0; i < ARRAY_LEN(nowhere); i++) {
        refused_unit_request(UNIT_POSITIONS, nowhere[i], "there is nowhere to go in");
        refused_unit_request(UNIT_ROLLBACK, nowhere[i], "there is nowhere to go in");
    }
    refused_unit_request(UNIT_ROLLBACK, "Earliest", "write firn.dev/rollback as a time or");
    refused_unit_request(UNIT_POSITIONS, "8123", "write firn.dev/positions as Earliest");
    refused_unit_request(UNIT_ROLLBACK, "1 a b c", "more words than three");
}

/* firn.dev/resnapshot */
static void requests(void **state)
{
    (void)state;
    CopyRequest request;
    Error err;
    assert_true(copy_request_parse(" public.orders,shop.order_*  2026-11-22 system:alice \n",
                                   &request, &err));
    assert_string_equal(request.id, "2026-11-22");
    assert_string_equal(request.by, "system:alice");
    assert_true(copy_request_names(&request, "public.orders"));
    assert_true(copy_request_names(&request, "shop.order_lines"));
    assert_false(copy_request_names(&request, "public.order_lines"));
    copy_request_done(&request);
    assert_false(copy_request_names(&request, "public.orders"));
    CopyRequest other;
    assert_true(copy_request_parse("*.*", &request, &err));
    assert_true(copy_request_parse("public.*", &other, &err));
    assert_string_not_equal(request.id, other.id);
    assert_string_equal(request.by, "");
    copy_request_done(&other);
    assert_true(copy_request_parse("*.*", &other, &err));
    assert_string_equal(request.id, other.id);
    copy_request_done(&request);
    copy_request_done(&other);
    refused_request("", "there is no table \"\"");
    refused_request("orders", "there is no table \"orders\"");
    refused_request("public.orders,,public.a 1", "there is no table \"\"");
    refused_request("public.orders 1 alice now", "more words than three");
    refused_request("public.orders one\x01two", "the id of");
    refused_request("public.orders 1 \xc3\xa4", "who asked");
    refused_request("public.orders "
                    "0123456789012345678901234567890123456789012345678901234567890123",
                    "the id of");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_manifest),
        cmocka_unit_test(defaults),
        cmocka_unit_test(long_names),
        cmocka_unit_test(outsourced_table),
        cmocka_unit_test(patterns_make_tables),
        cmocka_unit_test(pattern_matching),
        cmocka_unit_test(tables_are_chosen),
        cmocka_unit_test_setup_teardown(secrets_from_a_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(passwords_are_wiped, setup, teardown),
        cmocka_unit_test_setup_teardown(lake_secrets_are_wiped, setup, teardown),
        cmocka_unit_test_setup_teardown(certificates_of_the_client, setup, teardown),
        cmocka_unit_test_setup_teardown(authorities, setup, teardown),
        cmocka_unit_test_setup_teardown(files_that_can_not_be_read, setup, teardown),
        cmocka_unit_test(lists_and_order),
        cmocka_unit_test(findings_are_limited),
        cmocka_unit_test(requests),
        cmocka_unit_test(unit_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

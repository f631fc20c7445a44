/* links: firn_common */
/* spec.catalog and spec.storage: what is taken, the defaults that hang on other fields, and
 * Secrets. What is refused without looking at a Secret stands in test_manifest_refusals.c. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/manifest/manifest.h"
#include "common/mem.h"

static Manifest *load(const char *file, bool resolve)
{
    ManifestOptions options = {.files = &file, .file_count = 1};
    Manifest *manifest;
    Findings findings;
    if (!manifest_load(&options, resolve, &manifest, &findings))
        for (size_t i = 0; i < findings.count; i++)
            print_message("%d: %s %s\n", findings.items[i].line, findings.items[i].path,
                          findings.items[i].message);
    assert_int_equal(findings.count, 0);
    findings_done(&findings);
    return manifest;
}

static const LakeTableSpec *table(const Manifest *manifest, const char *name)
{
    const LakeTableSpec *found = manifest_find_table(manifest, "default", name);
    assert_non_null(found);
    return found;
}

static void every_field(void **state)
{
    (void)state;
    Manifest *manifest = load(GOLDEN "/manifest/lakes.yaml", true);
    const LakeTableSpec *full = table(manifest, "full");
    const CatalogSpec *catalog = &full->catalog;
    assert_int_equal(catalog->type, CATALOG_REST);
    assert_string_equal(catalog->uri, "https://catalog.example:8181/api/catalog");
    assert_string_equal(catalog->warehouse, "lake");
    assert_int_equal(catalog->auth, AUTH_OAUTH2); /* by the Secret's keys */
    assert_string_equal(catalog->client_id, "firn");
    assert_string_equal(catalog->client_secret, "sec:ret");
    assert_string_equal(catalog->oauth2_uri, "https://login.example/token");
    assert_string_equal(catalog->scope, "PRINCIPAL_ROLE:firn");
    assert_true(catalog->vended_credentials);
    assert_null(catalog->token);
    assert_null(catalog->access_key);
    assert_null(catalog->signing_region);
    assert_string_equal(catalog->ca_pem,
                        "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n");
    const StorageSpec *storage = &full->storage;
    assert_string_equal(storage->endpoint, "https://s3.example");
    assert_string_equal(storage->region, "eu-west-1");
    assert_false(storage->path_style);
    assert_string_equal(storage->access_key, "AKIA1");
    assert_string_equal(storage->secret_key, "topsecret");
    assert_string_equal(storage->session_token, "session");
    assert_string_equal(storage->ca_pem,
                        "-----BEGIN CERTIFICATE-----\ny\n-----END CERTIFICATE-----\n");
    assert_string_equal(full->location, "s3://lake/retail/orders");
    manifest_free(manifest);
}

static void defaults(void **state)
{
    (void)state;
    Manifest *manifest = load(GOLDEN "/manifest/lakes.yaml", true);
    const LakeTableSpec *signing = table(manifest, "signed");
    assert_int_equal(signing->catalog.auth, AUTH_SIGV4);
    assert_string_equal(signing->catalog.signing_region, "eu-west-1");
    assert_string_equal(signing->catalog.signing_service, "glue");
    assert_null(signing->catalog.access_key); /* from the environment */
    assert_true(signing->catalog.vended_credentials);
    assert_null(signing->storage.endpoint);
    assert_null(signing->storage.region);
    assert_false(signing->storage.path_style);

    const LakeTableSpec *bucket = table(manifest, "bucket");
    assert_int_equal(bucket->catalog.type, CATALOG_DIRECTORY);
    assert_int_equal(bucket->catalog.auth, AUTH_NONE);
    assert_false(bucket->catalog.vended_credentials);
    assert_true(bucket->storage.path_style); /* an endpoint of one's own */
    assert_string_equal(bucket->storage.secret_key, "topsecret");

    /* Secrets are looked up only when asked for. */
    Manifest *unresolved = load(GOLDEN "/manifest/lakes.yaml", false);
    assert_null(table(unresolved, "full")->catalog.client_secret);
    assert_null(table(unresolved, "full")->catalog.ca_pem);
    assert_null(table(unresolved, "full")->storage.secret_key);
    assert_string_equal(table(unresolved, "full")->storage.ca.key, "store.crt");
    assert_string_equal(table(unresolved, "full")->catalog.ca.key, "ca.crt");
    manifest_free(unresolved);
    manifest_free(manifest);
}

/* What a pattern makes has the Secrets of the unit's table, as its own. */
static void expanded(void **state)
{
    (void)state;
    Manifest *manifest = load(GOLDEN "/manifest/lakes.yaml", true);
    const IngestionUnitSpec *all = &manifest->units[0];
    assert_false(all->lake->catalog.vended_credentials); /* storage has a Secret */
    LakeTableSpec *made;
    AUTO(mem_free) char *name = NULL;
    assert_true(manifest_expand(all, "public", "orders", &made, &name, NULL));
    assert_string_equal(made->catalog.warehouse, "s3://lake/public");
    assert_int_equal(made->catalog.auth, AUTH_NONE);
    assert_string_equal(made->storage.secret_key, "topsecret");
    assert_ptr_not_equal(made->storage.secret_key, all->lake->storage.secret_key);
    lake_table_free(made);

    const IngestionUnitSpec *one = &manifest->units[1];
    assert_int_equal(one->lake->catalog.auth, AUTH_OAUTH2);
    assert_string_equal(one->lake->catalog.client_id, "firn");
    assert_true(one->lake->catalog.vended_credentials);
    assert_string_equal(one->lake->database, "sales");
    manifest_free(manifest);
}

/* --- Secrets that do not fit --- */

typedef struct Case {
    const char *secret;  /* its stringData */
    const char *catalog; /* more of the catalog */
    const char *storage; /* more of the spec */
    const char *path;    /* NULL: taken */
    const char *message;
    CatalogAuth auth;
} Case;

#define CREDENTIALS "credentialsSecretRef: {name: s}"
#define STORE "storage: {credentialsSecretRef: {name: s}}"
static const Case cases[] = {
    {"token: t", CREDENTIALS, "", NULL, NULL, AUTH_BEARER},
    {"clientId: a, clientSecret: b", CREDENTIALS, "", NULL, NULL, AUTH_OAUTH2},
    {"credential: \"a:b\"", CREDENTIALS, "", NULL, NULL, AUTH_OAUTH2},
    {"credential: \"a:b\", clientId: x", CREDENTIALS, "", NULL, NULL, AUTH_OAUTH2},
    {"accessKeyId: a, secretAccessKey: b", CREDENTIALS, "", NULL, NULL, AUTH_SIGV4},
    {"token: t, accessKeyId: a, secretAccessKey: b", CREDENTIALS ", auth: SigV4", STORE, NULL, NULL,
     AUTH_SIGV4},
    {"token: hunter2, accessKeyId: a, secretAccessKey: b", CREDENTIALS, "",
     "spec.catalog.credentialsSecretRef.name",
     "\"s\" has keys for Bearer and for SigV4: write auth", 0},
    {"password: hunter2", CREDENTIALS, "", "spec.catalog.credentialsSecretRef.name",
     "\"s\" names no Secret that shows who one is: its keys are token (Bearer), clientId and "
     "clientSecret, or credential (OAuth2), or accessKeyId and secretAccessKey (SigV4)",
     0},
    {"password: hunter2", CREDENTIALS ", auth: Bearer", "",
     "spec.catalog.credentialsSecretRef.name",
     "Secret s (lake.yaml:1) has no key token: add it under stringData", 0},
    {"clientId: hunter2", CREDENTIALS ", auth: OAuth2", "",
     "spec.catalog.credentialsSecretRef.name",
     "Secret s (lake.yaml:1) has no key clientSecret: add it under stringData", 0},
    {"credential: hunter2", CREDENTIALS, "", "spec.catalog.credentialsSecretRef.name",
     "key credential of Secret s is not of the form id:secret", 0},
    {"credential: \":hunter2\"", CREDENTIALS, "", "spec.catalog.credentialsSecretRef.name",
     "key credential of Secret s is not of the form id:secret", 0},
    {"token: \"\"", CREDENTIALS, "", "spec.catalog.credentialsSecretRef.name",
     "key token of Secret s is empty", 0},
    {"accessKeyId: a", CREDENTIALS, "", "spec.catalog.credentialsSecretRef.name",
     "Secret s (lake.yaml:1) has no key secretAccessKey: add it under stringData", 0},
    {"token: t, secretAccessKey: hunter2", "", STORE, "spec.storage.credentialsSecretRef.name",
     "Secret s (lake.yaml:1) has no key accessKeyId: add it under stringData", 0},
    {"accessKeyId: a, secretAccessKey: hunter2, sessionToken: \"\"", "", STORE,
     "spec.storage.credentialsSecretRef.name", "key sessionToken of Secret s is empty", 0},
    {"ca.crt: hunter2", "caSecretRef: {name: s}", "", "spec.catalog.caSecretRef.name",
     "key ca.crt of Secret s holds no certificate in PEM form", 0},
    {"ca: hunter2", "", "storage: {caSecretRef: {name: s, key: ca}}",
     "spec.storage.caSecretRef.name", "key ca of Secret s holds no certificate in PEM form", 0},
    {"a: b", "", "storage: {caSecretRef: {name: t}}", "spec.storage.caSecretRef.name",
     "Secret t with key ca.crt is in none of the files: add a document of kind Secret, or write "
     "the "
     "value to DIR/t/ca.crt and give --secrets DIR",
     0},
};

static void secrets(void **state)
{
    (void)state;
    char folder[] = "/tmp/firn-manifest-XXXXXX";
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        FILE *file = fopen("lake.yaml", "w");
        assert_non_null(file);
        assert_true(
            fprintf(file,
                    "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {%s}}\n"
                    "---\n"
                    "{apiVersion: firn.dev/v1alpha1, kind: LakeTable, metadata: {name: t},\n"
                    " spec: {catalog: {type: Rest, uri: 'https://c', %s}, database: d,\n"
                    "  tableName: t, %s}}\n",
                    cases[i].secret, cases[i].catalog, cases[i].storage) > 0);
        assert_int_equal(fclose(file), 0);
        const char *name = "lake.yaml";
        ManifestOptions options = {.files = &name, .file_count = 1};
        Manifest *manifest;
        Findings findings;
        bool good = manifest_load(&options, true, &manifest, &findings);
        if (cases[i].path) {
            assert_int_equal(findings.count, 1);
            assert_string_equal(findings.items[0].path, cases[i].path);
            assert_string_equal(findings.items[0].message, cases[i].message);
            assert_null(strstr(findings.items[0].message, "hunter"));
            assert_true(findings.items[0].line >= 3);
        } else {
            assert_true(good);
            assert_int_equal(manifest->tables[0].catalog.auth, cases[i].auth);
            manifest_free(manifest);
        }
        findings_done(&findings);
    }
    assert_int_equal(unlink("lake.yaml"), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field),
        cmocka_unit_test(defaults),
        cmocka_unit_test(expanded),
        cmocka_unit_test(secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* links: firn_common */
/* Secrets of a mounted folder: what is there, what is missing, what can't be one. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/manifest/secret.h"
#include "common/mem.h"

static char folder[64];

static void put(const char *key, const void *data, size_t bytes)
{
    AUTO(mem_free) char *path = mem_format("%s/db/%s", folder, key);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, bytes), bytes);
    close(fd);
}

static void refused(const SecretStore *store, const char *key, const char *code, const char *says)
{
    Error err = {0};
    char *value = NULL;
    assert_false(secret_get(store, "default", "db", key, &value, &err));
    assert_null(value);
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, code);
    if (!strstr(err.message, says))
        fail_msg("'%s' has no '%s'", err.message, says);
    assert_null(strstr(err.message, "hunter2"));
}

static void of_a_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/firn-secret-XXXXXX");
    assert_non_null(mkdtemp(folder));
    AUTO(mem_free) char *inside = mem_format("%s/db", folder);
    AUTO(mem_free) char *deeper = mem_format("%s/db/folder", folder);
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_int_equal(mkdir(deeper, 0700), 0);
    put("password", "hunter2\n", 8);
    put("nul", "hunter2\0x", 9);
    const size_t large = (1 << 20) + 1;
    AUTO(mem_free) char *bytes = mem_alloc(large);
    memset(bytes, 'x', large);
    put("large", bytes, large);

    SecretStore *store = secret_store_new(folder);
    Error err = {0};
    char *value = NULL;
    assert_true(secret_get(store, "default", "db", "password", &value, &err));
    assert_string_equal(value, "hunter2");
    secret_wipe(value);
    refused(store, "nothing", "SecretMissing", "--secrets");
    refused(store, "nothing", "SecretMissing", folder);
    refused(store, "nul", "SecretInvalid", "NUL byte");
    refused(store, "large", "SecretInvalid", "larger than 1 MiB");
    refused(store, "folder", "SecretInvalid", "no file");
    secret_store_free(store);

    static const char *const keys[] = {"password", "nul", "large"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        AUTO(mem_free) char *path = mem_format("%s/%s", inside, keys[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(deeper) + rmdir(inside) + rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_a_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

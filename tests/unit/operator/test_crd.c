/* links: firn_operator_crd */
/* What stands in crds/ is what the manifest's tables give. `firn-operator crds --output crds`
 * writes it anew. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "operator/crd/crd.h"

static char *file_text(const char *name)
{
    AUTO(mem_free) char *path = mem_format(GOLDEN "/../../crds/%s.yaml", name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    Bytes text = {0};
    char part[4096];
    for (size_t got; (got = fread(part, 1, sizeof part, file)) > 0;)
        bytes_put(&text, part, got);
    fclose(file);
    bytes_put_u8(&text, '\0');
    return (char *)text.data;
}

static void files_are_what_the_tables_give(void **state)
{
    (void)state;
    size_t count = 0;
    for (const CrdKind *kind = crd_kinds; kind->kind; kind++, count++) {
        json_t *definition = crd_definition(kind);
        Bytes text = {0};
        yaml_text_write(&text, definition);
        bytes_put_u8(&text, '\0');
        char *file = file_text(kind->plural);
        assert_string_equal((char *)text.data, file);
        free(file);
        bytes_done(&text);
        json_decref(definition);
    }
    assert_int_equal(count, 3);
}

static void each_has_words(const json_t *schema, const char *where)
{
    const char *name;
    json_t *property;
    json_object_foreach(json_object_get(schema, "properties"), name, property)
    {
        char path[512];
        snprintf(path, sizeof path, "%s.%s", where, name);
        const char *words = json_string_value(json_object_get(property, "description"));
        if (!words || !*words)
            fail_msg("%s has no description", path);
        each_has_words(property, path);
        each_has_words(json_object_get(property, "items"), path);
    }
}

static void every_field_says_what_it_is(void **state)
{
    (void)state;
    for (const CrdKind *kind = crd_kinds; kind->kind; kind++) {
        json_t *definition = crd_definition(kind);
        json_t *schema = json_object_get(
            json_object_get(
                json_array_get(json_object_get(json_object_get(definition, "spec"), "versions"), 0),
                "schema"),
            "openAPIV3Schema");
        assert_non_null(schema);
        json_t *spec = json_object_get(json_object_get(schema, "properties"), "spec");
        assert_true(json_object_size(json_object_get(spec, "properties")) >= 4);
        each_has_words(spec, kind->kind);
        json_decref(definition);
    }
}

static void yaml_quotes_what_is_no_plain_text(void **state)
{
    (void)state;
    json_t *value = json_pack("{ss ss ss ss si sb s[ss] s{} s[]}", "a", "plain words", "b", "yes",
                              "c", "x: y", "d", "1", "e", 7, "f", 1, "g", "one", "False", "h", "i");
    Bytes text = {0};
    yaml_text_write(&text, value);
    bytes_put_u8(&text, '\0');
    assert_string_equal((char *)text.data, "a: plain words\nb: \"yes\"\nc: \"x: y\"\nd: \"1\"\n"
                                           "e: 7\nf: true\ng:\n- one\n- \"False\"\nh: {}\ni: []\n");
    bytes_done(&text);
    json_decref(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_what_the_tables_give),
        cmocka_unit_test(every_field_says_what_it_is),
        cmocka_unit_test(yaml_quotes_what_is_no_plain_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* links: firn_common */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "common/bytes.h"
#include "common/yaml.h"

static YamlTree *parse_good(const char *text)
{
    YamlTree *tree;
    YamlFault fault;
    if (!yaml_tree_parse(text, strlen(text), &tree, &fault))
        fail_msg("%d:%d: %s", fault.line, fault.column, fault.message);
    return tree;
}

static void tree_with_places(void **state)
{
    (void)state;
    AUTO(yaml_tree_free)
    YamlTree *tree = parse_good("# a comment\n"
                                "name: shop\n"
                                "source:\n"
                                "  port: 5432\n"
                                "  hosts: [a, \"b\"]\n"
                                "---\n"
                                "- text: |\n"
                                "    two\n"
                                "    lines\n"
                                "---\n");
    assert_int_equal(yaml_tree_count(tree), 3);
    const YamlNode *root = yaml_tree_document(tree, 0);
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->count, 2);
    assert_string_equal(root->keys[0]->text, "name");
    assert_int_equal(root->keys[0]->line, 2);
    assert_int_equal(root->nodes, 11);
    const YamlNode *hosts = yaml_get(yaml_get(root, "source"), "hosts");
    assert_int_equal(hosts->kind, YAML_LIST);
    assert_int_equal(hosts->line, 5);
    assert_int_equal(hosts->column, 10);
    assert_int_equal(hosts->count, 2);
    assert_true(hosts->values[0]->plain);
    assert_false(hosts->values[1]->plain);
    assert_int_equal(hosts->values[1]->column, 14);
    assert_null(yaml_get(root, "nothing"));
    assert_null(yaml_get(hosts, "name"));
    assert_null(yaml_get(NULL, "name"));
    assert_ptr_equal(yaml_at(root, "source.hosts[1]"), hosts->values[1]);
    assert_ptr_equal(yaml_at(root, "source.hosts[7]"), hosts);
    assert_ptr_equal(yaml_at(root, "source.tls.mode"), yaml_get(root, "source"));
    assert_ptr_equal(yaml_at(root, ""), root);
    const YamlNode *list = yaml_tree_document(tree, 1);
    assert_string_equal(yaml_get(list->values[0], "text")->text, "two\nlines\n");
    assert_int_equal(yaml_type(yaml_tree_document(tree, 2)), YAML_IS_NULL);
}

static void types_of_scalars(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        YamlType type;
    } cases[] = {
        {"1", YAML_IS_NUMBER},     {"-1", YAML_IS_NUMBER},       {"+1", YAML_IS_NUMBER},
        {"1_000", YAML_IS_NUMBER}, {"0x1F", YAML_IS_NUMBER},     {"0o17", YAML_IS_NUMBER},
        {"1.5", YAML_IS_NUMBER},   {".5", YAML_IS_NUMBER},       {"1e3", YAML_IS_NUMBER},
        {"1E-3", YAML_IS_NUMBER},  {".inf", YAML_IS_NUMBER},     {"-.Inf", YAML_IS_NUMBER},
        {"\"1\"", YAML_IS_TEXT},   {"'true'", YAML_IS_TEXT},     {"\"\"", YAML_IS_TEXT},
        {"true", YAML_IS_BOOL},    {"False", YAML_IS_BOOL},      {"yes", YAML_IS_BOOL},
        {"OFF", YAML_IS_BOOL},     {"n", YAML_IS_BOOL},          {"tRue", YAML_IS_TEXT},
        {"~", YAML_IS_NULL},       {"null", YAML_IS_NULL},       {"", YAML_IS_NULL},
        {"nil", YAML_IS_TEXT},     {"1s", YAML_IS_TEXT},         {"64Mi", YAML_IS_TEXT},
        {"1.2.3", YAML_IS_TEXT},   {"0xzz", YAML_IS_TEXT},       {"1e", YAML_IS_TEXT},
        {"-", YAML_IS_TEXT},       {"127.0.0.1", YAML_IS_TEXT},  {"a: b", YAML_IS_TEXT},
        {".", YAML_IS_TEXT},       {"2026-11-30", YAML_IS_TEXT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[64];
        bool odd = strcmp(cases[i].text, "-") == 0 || strchr(cases[i].text, ':');
        snprintf(text, sizeof text, odd ? "[\"%s\"]" : "[%s%s]", cases[i].text,
                 *cases[i].text ? "" : "~");
        AUTO(yaml_tree_free) YamlTree *tree = parse_good(text);
        const YamlNode *node = yaml_tree_document(tree, 0)->values[0];
        if (yaml_type(node) != cases[i].type)
            fail_msg("%s is %d", cases[i].text, (int)yaml_type(node));
    }
}

static void keys_that_repeat(void **state)
{
    (void)state;
    AUTO(yaml_tree_free) YamlTree *tree = parse_good("a: 1\nb: 2\na: 3\na: 4\n");
    const YamlNode *root = yaml_tree_document(tree, 0);
    assert_int_equal(root->count, 4);
    assert_int_equal(root->keys[0]->repeats, 0);
    assert_int_equal(root->keys[2]->repeats, 1);
    assert_int_equal(root->keys[3]->repeats, 1);
    assert_string_equal(yaml_get(root, "a")->text, "1");
}

static void aliases(void **state)
{
    (void)state;
    AUTO(yaml_tree_free)
    YamlTree *tree = parse_good("a: &x {k: [1, 2]}\nb: *x\nc: [*x, *x]\n");
    const YamlNode *root = yaml_tree_document(tree, 0);
    assert_ptr_equal(root->values[0], root->values[1]);
    assert_int_equal(root->values[0]->nodes, 5);
    assert_int_equal(root->nodes, 1 + 3 + 5 + 5 + 1 + 10);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line, column;
        const char *message;
    } cases[] = {
        {"a: [1, 2\nb: 3", 2, 2, "not YAML: did not find expected ',' or ']'"},
        {"a:\n\t- b", 2, 1, "not YAML: found character that cannot start any token"},
        {"a: b: c", 1, 5, "not YAML: mapping values are not allowed in this context"},
        {"a: \"b", 1, 6, "not YAML: found unexpected end of stream"},
        {"a: *b", 1, 4, "an alias names an anchor that does not stand, whole, before it"},
        {"a: &b [*b]", 1, 8, "an alias names an anchor that does not stand, whole, before it"},
        {"a: &b 1\n---\na: *b", 3, 4, "an alias names an anchor that"},
        {"&a b: 1\n*a : 2", 2, 1, "an alias can't be a key"},
        {"a: !!int 1", 1, 4, "tags (!...) are not supported"},
        {"a: !x {}", 1, 4, "tags (!...) are not supported"},
        {"a: &b {}\nc: {<<: *b}", 2, 5, "merge keys (<<) are not supported"},
        {"[a]: b", 1, 1, "a key must be a text"},
        {"a: \"\\0\"", 1, 4, "a text holds a NUL character"},
        {"a: \xff", 1, 1, "not YAML: invalid leading UTF-8 octet"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        YamlTree *tree;
        YamlFault fault;
        if (yaml_tree_parse(cases[i].text, strlen(cases[i].text), &tree, &fault))
            fail_msg("not refused: %s", cases[i].text);
        if (fault.line != cases[i].line || fault.column != cases[i].column ||
            strncmp(fault.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s\ngot %d:%d %s", cases[i].text, fault.line, fault.column, fault.message);
        yaml_tree_free(tree);
    }
}

static void documents_before_the_fault_stay(void **state)
{
    (void)state;
    YamlTree *tree;
    YamlFault fault;
    static const char text[] = "a: 1\n---\nb: [\n";
    assert_false(yaml_tree_parse(text, sizeof text - 1, &tree, &fault));
    assert_int_equal(yaml_tree_count(tree), 1);
    assert_string_equal(yaml_get(yaml_tree_document(tree, 0), "a")->text, "1");
    yaml_tree_free(tree);
    yaml_tree_free(NULL);
}

static void assert_over_limit(const Bytes *text, const char *message)
{
    YamlTree *tree;
    YamlFault fault;
    assert_false(yaml_tree_parse((const char *)text->data, text->used, &tree, &fault));
    assert_string_equal(fault.message, message);
    yaml_tree_free(tree);
}

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

static void limits(void **state)
{
    (void)state;
    Bytes text = {0};
    put_text(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"); /* a billion laughs */
    for (int i = 1; i < 10; i++) {
        char line[128];
        snprintf(line, sizeof line, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i,
                 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        put_text(&text, line);
    }
    assert_over_limit(&text, "the text holds more than 500000 values");
    bytes_clear(&text);
    for (size_t i = 0; i <= YAML_DEPTH_MAX; i++)
        put_text(&text, "[");
    assert_over_limit(&text, "mappings and lists are nested more than 64 deep");
    bytes_clear(&text);
    for (size_t i = 0; i <= YAML_KEYS_MAX; i++) {
        char line[32];
        snprintf(line, sizeof line, "k%zu: 1\n", i);
        put_text(&text, line);
    }
    assert_over_limit(&text, "a mapping holds more than 2000 keys");
    bytes_clear(&text);
    for (int i = 0; i < 300; i++) {
        char line[32];
        snprintf(line, sizeof line, "- &a%d x\n", i);
        put_text(&text, line);
    }
    assert_over_limit(&text, "a document holds more than 256 anchors");
    bytes_clear(&text);
    bytes_reserve(&text, YAML_BYTES_MAX + 1);
    memset(text.data, ' ', YAML_BYTES_MAX + 1);
    text.used = YAML_BYTES_MAX + 1;
    assert_over_limit(&text, "the text is larger than 16 MiB");
    bytes_done(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_with_places), cmocka_unit_test(types_of_scalars),
        cmocka_unit_test(keys_that_repeat), cmocka_unit_test(aliases),
        cmocka_unit_test(refused),          cmocka_unit_test(documents_before_the_fault_stay),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

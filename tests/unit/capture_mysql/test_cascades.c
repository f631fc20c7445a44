/* links: firn_capture_mysql */
#include "tests/unit/capture_mysql/log.h"

#include "agent/capture/mysql/mysql.h"

static void expect(const char *definition, const char *wanted)
{
    char *key = my_cascade_find(definition);
    if (wanted)
        assert_string_equal(key, wanted);
    else
        assert_null(key);
    free(key);
}

#define HEAD "CREATE TABLE `t` (\n  `id` int(11) NOT NULL,\n"
#define KEY "  CONSTRAINT `k` FOREIGN KEY (`p`) REFERENCES `o` (`id`)"

static void test_rules(void **state)
{
    (void)state;
    expect(HEAD KEY "\n) ENGINE=InnoDB", NULL);
    expect(HEAD KEY " ON DELETE NO ACTION ON UPDATE NO ACTION\n)", NULL);
    expect(HEAD KEY " ON DELETE RESTRICT\n)", NULL);
    expect(HEAD KEY " ON DELETE CASCADE\n)", "`k`");
    expect(HEAD KEY " ON DELETE NO ACTION ON UPDATE CASCADE\n)", "`k`");
    expect(HEAD KEY " ON UPDATE SET NULL,\n  CONSTRAINT `l` CHECK (`id` > 0)\n)", "`k`");
    expect(HEAD KEY ",\n  CONSTRAINT `2``\n` FOREIGN KEY (`a`,`b`) REFERENCES `s`.`o` (`c`,`d`)"
                    " ON DELETE SET NULL\n)",
           "`2``\n`");
}

/* What reads like a rule, and is a name or a text. */
static void test_names(void **state)
{
    (void)state;
    expect("", NULL);
    expect("CREATE TABLE `t` (\n  `a ON DELETE CASCADE` int(11) COMMENT ' ON DELETE CASCADE'\n)",
           NULL);
    expect(HEAD "  CONSTRAINT `k` FOREIGN KEY (`a ON DELETE CASCADE`) REFERENCES "
                "`x`` ON UPDATE CASCADE` (`id`)\n)",
           NULL);
    expect(HEAD "  CONSTRAINT `c` CHECK (`id` <> ' ON DELETE CASCADE')\n)", NULL);
    expect(HEAD "  CONSTRAINT `cut off", NULL);
    expect(HEAD KEY " ON DELETE ", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* links: firn_capture_postgres */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/match.h"
#include "common/attrs.h"

typedef struct Case {
    const char *before; /* "1a 2b": the columns known last */
    const char *now; /* "1a 3c": the catalog; "2-" is dropped; "2-<" by a transaction later than the
                      * row's, "2->" by an earlier one */
    const char *log; /* "a b" */
    const char *is;  /* "1 2", "none", "several" */
} Case;

typedef struct Names {
    char texts[16][4];
    int numbers[16], since[16];
    size_t count;
} Names;

static void split(const char *text, Names *ret)
{
    char copy[100];
    snprintf(copy, sizeof copy, "%s", text);
    ret->count = 0;
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        int used = 0;
        ret->numbers[ret->count] = 0;
        sscanf(word, "%d%n", &ret->numbers[ret->count], &used);
        char *name = ret->texts[ret->count];
        snprintf(name, sizeof ret->texts[0], "%s", word + used);
        char *order = strpbrk(name, "<>");
        ret->since[ret->count++] = !order ? 0 : *order == '<' ? -1 : 1;
        if (order)
            *order = '\0';
    }
}

static const char *name_now(const Names *now, int number)
{
    for (size_t i = 0; i < now->count; i++)
        if (now->numbers[i] == number && now->texts[i][0] != '-')
            return now->texts[i];
    return NULL;
}

static int since(const Names *now, int number)
{
    for (size_t i = 0; i < now->count; i++)
        if (now->numbers[i] == number)
            return now->since[i];
    return 0;
}

static void check(const Case *test)
{
    Names before, now, log;
    MatchColumn columns[32];
    size_t count = 0;
    const char *names[16];
    uint32_t place[16], types[16];
    char is[100] = "";
    split(test->before, &before);
    split(test->now, &now);
    split(test->log, &log);
    int last = 0;
    for (size_t i = 0; i < before.count; i++) {
        last = before.numbers[i];
        columns[count++] =
            (MatchColumn){last, before.texts[i], name_now(&now, last), 0, since(&now, last), 0};
    }
    for (size_t i = 0; i < now.count; i++)
        if (now.numbers[i] > last)
            columns[count++] = (MatchColumn){
                now.numbers[i], NULL, name_now(&now, now.numbers[i]), 0, now.since[i], 0};
    for (size_t i = 0; i < log.count; i++) {
        types[i] = log.texts[i][0] >= 'A' && log.texts[i][0] <= 'Z';
        names[i] = log.texts[i];
    }
    switch (match_columns(columns, count, names, types, log.count, place)) {
    case MATCH_NONE:
        snprintf(is, sizeof is, "none");
        break;
    case MATCH_SEVERAL:
        snprintf(is, sizeof is, "several");
        break;
    case MATCH_ONE:
        for (size_t i = 0; i < log.count; i++)
            snprintf(is + strlen(is), sizeof is - strlen(is), "%s%d", i ? " " : "",
                     (int)columns[place[i]].number);
    }
    if (strcmp(is, test->is) != 0)
        fail_msg("before '%s', now '%s', log '%s': %s, not %s", test->before, test->now, test->log,
                 is, test->is);
}

static void columns_are_found_by_number(void **state)
{
    (void)state;
    static const Case cases[] = {
        {"1a 2b", "1a 2b", "a b", "1 2"},
        {"1a 2b", "1a 2b 3c", "a b c", "1 2 3"},
        {"1a 2b", "1a 2b 3c", "a b", "1 2"}, /* not yet */
        {"1a 2b", "1a 2b 3c 4d", "a b c", "1 2 3"},
        {"1a 2b", "1a 2b 3c 4d", "a b x", "1 2 3"}, /* called so then */
        {"1a 2b", "1a 2x", "a x", "1 2"},
        {"1a 2b", "1b 2a", "b a", "1 2"}, /* names swapped */
        {"1a 2b", "1b 2a", "a b", "1 2"},
        {"1a 2b", "1b 2a", "x b", "1 2"},       /* half-way */
        {"1a 2b", "1a 2b 3c 4d", "a c", "1 2"}, /* both are there still: so it was renamed */
        {"1a 2b", "1a 2-", "a", "1"},
        {"1a 2b", "1a 2-", "a b", "1 2"}, /* not yet dropped */
        {"1a 2b 3c", "1a 2- 3c", "a c", "1 3"},
        {"1a 2b 3c", "1a 2- 3c 4b", "a c b", "1 3 4"}, /* dropped, and anew under the name */
        {"1a 2b 3c", "1a 2- 3c 4b", "a b c", "1 2 3"}, /* that one is not there yet */
        {"1a 2b", "1a 2- 3c", "a c", "1 3"},
        {"1a 2b 3c", "1x 2- 3c 4d", "a b c", "1 2 3"},
        {"1a 2b 3c", "1x 2- 3c 4d", "x c d", "1 3 4"},
        {"1a", "1a 2- 3c", "a b", "several"}, /* 2 under its name, or 3 under an older one */
        {"1a 2b", "", "a b", "1 2"},          /* the table is gone by now */
        {"1a 2b", "1- 2- 3a", "a", "several"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(&cases[i]);
}

static void what_can_not_be_told_is_not_guessed(void **state)
{
    (void)state;
    static const Case cases[] = {
        {"1a 2b", "1a 2- 3b", "a b", "several"}, /* the last one: 2, or 3? */
        {"1a 2b", "1a 2- 3- 4b", "a b", "several"},
        {"1a 2b", "1a 2- 3c", "a x", "several"}, /* 2 renamed and dropped, or 3 renamed */
        {"1a", "1a 2- 3c", "a c", "several"},    /* 3, or 2 that had the name before */
        {"1a 2b", "1a 2b 3- 4- 5c", "a b c", "several"},
        {"1a 2b", "1a 2b", "a", "none"}, /* a publication's column list */
        {"1a 2b", "1a 2b", "a b c", "none"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(&cases[i]);
}

/* A name that was given again: what has it is told by the order of the transactions, or not at all.
 */
static void transactions_have_to_bear_names_out(void **state)
{
    (void)state;
    static const Case cases[] = {
        /* 2 was renamed to c, then dropped, then c added: the row is of before that */
        {"1a 2b", "1a 2-< 3c<", "a c", "several"},
        {"1a 2b", "1a 2-> 3c>", "a c", "1 3"}, /* b dropped, c added, the row after it */
        /* 2 was dropped, b added, then that one renamed: the row is of in between */
        {"1a 2b", "1a 2-> 3c<", "a b", "several"},
        {"1a 2b", "1a 2-< 3C<", "a C", "1 3"},     /* of another type, so it is not 2 */
        {"1a 2b", "1a 2-< 3c<", "a b", "1 2"},     /* not yet dropped */
        {"1a 2b", "1a 2-< 3c>", "a b", "several"}, /* 3 is said to be there, and is not */
        {"1a", "1a 2-> 3c>", "a c", "1 3"},        /* 2 came and went without a row */
        {"1a", "1a 2-< 3c<", "a c", "several"},
        {"1a 2b", "1a 2-> 3b>", "a b", "several"}, /* both were called so */
        /* what order alone tells needs no more */
        {"1a 2b 3c", "1a 2-> 3c", "a b c", "1 2 3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(&cases[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_found_by_number),
        cmocka_unit_test(what_can_not_be_told_is_not_guessed),
        cmocka_unit_test(transactions_have_to_bear_names_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

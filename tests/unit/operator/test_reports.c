/* links: firn_operator_reports */
/* Agents' reports as the operator keeps them, with a clock of the test's own. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "operator/reports/reports.h"

#define SECOND INT64_C(1000000)
#define KEY "c/retail/shop"

typedef struct World {
    Reports *reports;
    int64_t now_us;
} World;

static World world_of(int64_t figures_us)
{
    World world = {.now_us = 1000 * SECOND};
    world.reports = reports_new(figures_us, world.now_us);
    return world;
}

typedef struct Saying {
    const char *pod, *phase, *unit, *error;
    int64_t lag, rows, copying, commits;
    bool whole;
} Saying;

/* A table of 0 rows and more is told of; lag < 0: not said. */
static void say_it(World *world, const char *key, Saying saying)
{
    ChannelReport report = {.has_flow = true, .whole = saying.whole};
    channel_flow_clear(&report.flow);
    snprintf(report.flow.phase, sizeof report.flow.phase, "%s", saying.phase);
    if (saying.lag >= 0)
        report.flow.lag_bytes = saying.lag;
    if (saying.error) {
        report.flow.error = mem_strdup(saying.error);
        snprintf(report.flow.reason, sizeof report.flow.reason, "Broken");
    }
    ChannelTable table;
    channel_table_clear(&table);
    if (saying.unit) {
        table.unit = mem_strdup(saying.unit);
        table.table = mem_format("public.%s", saying.unit);
        table.rows = saying.rows;
        table.copying = saying.copying;
        table.commits = saying.commits;
        report.tables = &table;
        report.table_count = 1;
    }
    reports_said(world->reports, key, saying.pod, &report, world->now_us, world->now_us / SECOND);
    channel_table_done(&table);
    channel_flow_done(&report.flow);
}

/* The next key in line is this (NULL: there is none now). */
static void next_is(World *world, const char *wanted, bool wanted_figures)
{
    bool figures = false;
    AUTO(mem_free) char *key = reports_next(world->reports, world->now_us, true, &figures);
    if (!wanted) {
        assert_null(key);
        return;
    }
    assert_non_null(key);
    assert_string_equal(key, wanted);
    assert_int_equal(figures, wanted_figures);
}

/* Consumers share the partitions out: what each has not read adds up, and the oldest counts. */
static void consumers_lag(void **state)
{
    (void)state;
    World world = world_of(60 * SECOND);
    static const char *const pods[] = {"a", "b"};
    for (int i = 0; i < 2; i++) {
        ChannelReport report = {.has_flow = true, .whole = true};
        channel_flow_clear(&report.flow);
        snprintf(report.flow.phase, sizeof report.flow.phase, "Streaming");
        report.flow.lag_records = 10 + i;
        report.flow.freshness_ms = 1000 * i;
        reports_joined(world.reports, "u/retail/orders", pods[i]);
        reports_said(world.reports, "u/retail/orders", pods[i], &report, world.now_us,
                     world.now_us / SECOND);
    }
    next_is(&world, "u/retail/orders", false);
    Reported reported;
    reports_see(world.reports, "u/retail/orders", 2, world.now_us, &reported);
    assert_int_equal(reported.flow.lag_records, 21);
    assert_int_equal(reported.flow.freshness_ms, 1000);
    assert_int_equal(reported.flow.lag_bytes, CHANNEL_NOT_SAID);
    reported_done(&reported);
    /* and both say the same table */
    world.now_us += 60 * SECOND;
    for (int i = 0; i < 2; i++)
        say_it(&world, "u/retail/orders",
               (Saying){pods[i], "Streaming", "orders", NULL, -1, 5, 0, CHANNEL_NOT_SAID, true});
    reports_scan(world.reports, world.now_us);
    next_is(&world, "u/retail/orders", false);
    reports_see(world.reports, "u/retail/orders", 2, world.now_us, &reported);
    assert_int_equal(reported.tables, 1);
    reported_done(&reported);
    reports_free(world.reports);
}

static int64_t rows_of(World *world, const char *unit)
{
    UnitFigures figures;
    return reports_of_unit(world->reports, KEY, unit, &figures) ? figures.rows : -1;
}

static void figures_wait_and_words_do_not(void **state)
{
    (void)state;
    World world = world_of(60 * SECOND);
    reports_joined(world.reports, KEY, "a");
    say_it(&world, KEY,
           (Saying){"a", "Streaming", "orders", NULL, 5, 10, 0, CHANNEL_NOT_SAID, false});
    next_is(&world, NULL, false); /* not all of it is told */
    say_it(&world, KEY, (Saying){"a", "Streaming", NULL, NULL, 5, 0, 0, 0, true});
    next_is(&world, KEY, false);
    next_is(&world, NULL, false);
    assert_int_equal(rows_of(&world, "orders"), 10);
    /* figures move on, and what is shown does not */
    say_it(&world, KEY,
           (Saying){"a", "Streaming", "orders", NULL, 6, 11, 0, CHANNEL_NOT_SAID, true});
    next_is(&world, NULL, false);
    assert_int_equal(rows_of(&world, "orders"), 10);
    for (int i = 0; i < 59; i++) {
        world.now_us += SECOND;
        say_it(&world, KEY,
               (Saying){"a", "Streaming", "orders", NULL, i, 12 + i, 0, CHANNEL_NOT_SAID, true});
        reports_scan(world.reports, world.now_us);
        next_is(&world, NULL, false);
    }
    world.now_us += SECOND;
    reports_scan(world.reports, world.now_us);
    next_is(&world, KEY, true);
    assert_int_equal(rows_of(&world, "orders"), 70);
    /* an error is told at once, with its figures */
    say_it(&world, KEY,
           (Saying){"a", "Retrying", "orders", "gone", 7, 99, 0, CHANNEL_NOT_SAID, true});
    next_is(&world, KEY, false);
    Reported reported;
    reports_see(world.reports, KEY, -1, world.now_us, &reported);
    assert_true(reported.known);
    assert_string_equal(reported.flow.phase, "Retrying");
    assert_string_equal(reported.flow.error, "gone");
    assert_int_equal(reported.flow.lag_bytes, 7);
    assert_int_equal(reported.tables, 1);
    reported_done(&reported);
    reports_free(world.reports);
}

static void the_silent_are_found(void **state)
{
    (void)state;
    World world = world_of(600 * SECOND);
    Reported reported;
    reports_joined(world.reports, KEY, "a");
    say_it(&world, KEY, (Saying){"a", "Streaming", NULL, NULL, 5, 0, 0, 0, true});
    next_is(&world, KEY, false);
    reports_see(world.reports, KEY, 1, world.now_us, &reported);
    assert_false(reported.silent);
    reported_done(&reported);
    reports_left(world.reports, KEY, "a"); /* who goes may come again */
    world.now_us += 25 * SECOND;
    reports_scan(world.reports, world.now_us);
    next_is(&world, NULL, false);
    world.now_us += SECOND;
    reports_scan(world.reports, world.now_us);
    next_is(&world, KEY, false);
    reports_see(world.reports, KEY, 1, world.now_us, &reported);
    assert_true(reported.silent);
    assert_int_equal(reported.heard_s, 1000);
    reported_done(&reported);
    /* heard again */
    reports_joined(world.reports, KEY, "a");
    say_it(&world, KEY, (Saying){"a", "Streaming", NULL, NULL, 5, 0, 0, 0, true});
    next_is(&world, KEY, false);
    reports_see(world.reports, KEY, 1, world.now_us, &reported);
    assert_false(reported.silent);
    reported_done(&reported);
    /* one that nobody ever heard, after as long */
    reports_see(world.reports, "u/retail/new", 1, world.now_us, &reported);
    assert_false(reported.silent);
    assert_false(reported.known);
    reported_done(&reported);
    world.now_us += 26 * SECOND;
    say_it(&world, KEY, (Saying){"a", "Streaming", NULL, NULL, 5, 0, 0, 0, true});
    /* and told although somebody looked before */
    reports_see(world.reports, "u/retail/new", -1, world.now_us, &reported);
    assert_true(reported.silent);
    reported_done(&reported);
    reports_scan(world.reports, world.now_us);
    next_is(&world, "u/retail/new", false);
    reports_see(world.reports, "u/retail/new", 1, world.now_us, &reported);
    assert_true(reported.silent);
    assert_int_equal(reported.heard_s, 0);
    reported_done(&reported);
    /* one that is not to run is not missed */
    reports_see(world.reports, "u/retail/new", 0, world.now_us, &reported);
    assert_false(reported.silent);
    reported_done(&reported);
    reports_free(world.reports);
}

/* An agent is back before its connection of before is known to be broken. When that ends, it is
 * connected still: of several it counts, and what makes room for others does not take it away. */
static void a_connection_lingers(void **state)
{
    (void)state;
    World world = world_of(60 * SECOND);
    Reported reported;
    const char *const pods[] = {"a", "b"};
    for (int i = 0; i < 2; i++) {
        reports_joined(world.reports, KEY, pods[i]);
        say_it(&world, KEY, (Saying){pods[i], "Streaming", NULL, NULL, 5, 0, 0, 0, true});
    }
    reports_joined(world.reports, KEY, "a");
    reports_left(world.reports, KEY, "a");
    say_it(&world, KEY, (Saying){"a", "Streaming", NULL, NULL, 6, 0, 0, 0, true});
    reports_joined(world.reports, KEY, "b");
    say_it(&world, KEY, (Saying){"b", "Streaming", NULL, NULL, 5, 0, 0, 0, true});
    world.now_us += 20 * SECOND;
    say_it(&world, KEY, (Saying){"a", "Streaming", NULL, NULL, 7, 0, 0, 0, true});
    say_it(&world, KEY, (Saying){"b", "Streaming", NULL, NULL, 5, 0, 0, 0, true});
    world.now_us += 20 * SECOND;
    reports_see(world.reports, KEY, 2, world.now_us, &reported);
    assert_false(reported.silent);
    reported_done(&reported);
    next_is(&world, KEY, false);
    reports_see(world.reports, KEY, 2, world.now_us, &reported);
    assert_int_equal(reported.flow.lag_bytes, 12);
    reported_done(&reported);
    reports_free(world.reports);
}

static void the_stopped_are_not_known(void **state)
{
    (void)state;
    World world = world_of(0);
    Reported reported;
    reports_joined(world.reports, KEY, "a");
    say_it(&world, KEY, (Saying){"a", "Streaming", NULL, NULL, 5, 0, 0, 0, true});
    next_is(&world, KEY, false);
    reports_see(world.reports, KEY, 0, world.now_us, &reported); /* its Pod is not ready yet */
    assert_true(reported.known);
    reported_done(&reported);
    reports_left(world.reports, KEY, "a");
    reports_see(world.reports, KEY, 1, world.now_us, &reported); /* it comes again */
    assert_true(reported.known);
    reported_done(&reported);
    reports_see(world.reports, KEY, 0, world.now_us, &reported);
    assert_false(reported.known);
    assert_false(reported.silent);
    reported_done(&reported);
    reports_free(world.reports);
}

static void say_request(World *world, const char *key, const char *pod, const char *state)
{
    ChannelReport report = {.has_flow = true, .whole = true};
    channel_flow_clear(&report.flow);
    snprintf(report.flow.phase, sizeof report.flow.phase, "Streaming");
    snprintf(report.flow.request, sizeof report.flow.request, "one");
    snprintf(report.flow.request_state, sizeof report.flow.request_state, "%s", state);
    snprintf(report.flow.request_to, sizeof report.flow.request_to, "%s's", pod);
    reports_said(world->reports, key, pod, &report, world->now_us, world->now_us / SECOND);
    channel_flow_done(&report.flow);
}

/* One of the consumers does what all are asked. */
static void what_is_asked_is_done_by_one(void **state)
{
    (void)state;
    World world = world_of(0);
    static const char key[] = "u/retail/orders";
    static const char *const said[][4] = {{"Waiting", "Waiting", "Waiting", "a's"},
                                          {"Waiting", "Running", "Running", "b's"},
                                          {"Done", "Running", "Done", "a's"},
                                          {"Waiting", "Refused", "Refused", "b's"}};
    reports_joined(world.reports, key, "a");
    reports_joined(world.reports, key, "b");
    for (size_t i = 0; i < ARRAY_LEN(said); i++) {
        say_request(&world, key, "a", said[i][0]);
        say_request(&world, key, "b", said[i][1]);
        next_is(&world, key, false);
        Reported reported;
        reports_see(world.reports, key, 2, world.now_us, &reported);
        assert_string_equal(reported.flow.request_state, said[i][2]);
        assert_string_equal(reported.flow.request_to, said[i][3]);
        reported_done(&reported);
    }
    reports_free(world.reports);
}

static void consumers_are_one(void **state)
{
    (void)state;
    World world = world_of(0);
    static const char key[] = "u/retail/orders";
    reports_joined(world.reports, key, "a");
    reports_joined(world.reports, key, "b");
    say_it(&world, key, (Saying){"a", "Streaming", "orders", NULL, 5, 100, 0, 1, true});
    say_it(&world, key, (Saying){"b", "Pending", "orders", NULL, 7, 90, 0, 0, true});
    next_is(&world, key, false);
    Reported reported;
    reports_see(world.reports, key, 2, world.now_us, &reported);
    assert_string_equal(reported.flow.phase, "Pending");
    assert_int_equal(reported.flow.lag_bytes, 12);
    reported_done(&reported);
    UnitFigures figures;
    assert_true(reports_of_unit(world.reports, key, "orders", &figures));
    assert_int_equal(figures.rows, 100); /* of the one that commits */
    /* one goes, and another one takes its place */
    reports_left(world.reports, key, "a");
    reports_joined(world.reports, key, "c");
    say_it(&world, key, (Saying){"c", "Streaming", "orders", NULL, 1, 100, 0, 1, true});
    next_is(&world, NULL, false); /* as many, and as far: no news */
    for (int i = 0; i < 7; i++) {
        world.now_us += 10 * SECOND;
        say_it(&world, key, (Saying){"b", "Pending", "orders", NULL, 7, 90, 0, 0, true});
        say_it(&world, key, (Saying){"c", "Streaming", "orders", NULL, 1, 100, 0, 1, true});
    }
    reports_scan(world.reports, world.now_us);
    next_is(&world, key, true);
    reports_see(world.reports, key, 2, world.now_us, &reported);
    assert_int_equal(reported.flow.lag_bytes, 8);
    reported_done(&reported);
    /* all go: what they said last is what is known */
    reports_left(world.reports, key, "b");
    world.now_us += SECOND;
    say_it(&world, key, (Saying){"c", "Streaming", "orders", NULL, 2, 100, 0, 1, true});
    reports_left(world.reports, key, "c");
    world.now_us += SECOND;
    reports_scan(world.reports, world.now_us);
    reports_see(world.reports, key, 2, world.now_us, &reported);
    assert_true(reported.known);
    reported_done(&reported);
    reports_free(world.reports);
}

static void tables_come_and_go(void **state)
{
    (void)state;
    World world = world_of(0);
    reports_joined(world.reports, KEY, "a");
    say_it(&world, KEY,
           (Saying){"a", "Streaming", "all-x", NULL, 5, 1, 0, CHANNEL_NOT_SAID, false});
    assert_null(reports_tables(world.reports, KEY));
    say_it(&world, KEY, (Saying){"a", "Streaming", "all-y", NULL, 5, 2, 1, CHANNEL_NOT_SAID, true});
    next_is(&world, KEY, false);
    AUTO(json_free) json_t *tables = reports_tables(world.reports, KEY);
    AUTO(json_free)
    json_t *both = json_pack("{ss ss}", "all-x", "public.all-x", "all-y", "public.all-y");
    assert_true(json_equal(tables, both));
    AUTO(json_free) json_t *owners = json_pack("{ss ss}", "all-x", "all", "all-y", "all");
    assert_true(reports_claim(world.reports, KEY, owners));
    assert_false(reports_claim(world.reports, KEY, owners));
    assert_int_equal(rows_of(&world, "all"), 3);
    assert_int_equal(rows_of(&world, "all-y"), 2);
    assert_int_equal(rows_of(&world, "other"), -1);
    /* the process begins again, and one is gone: until all is told, what was stands */
    reports_left(world.reports, KEY, "a");
    reports_joined(world.reports, KEY, "a");
    say_it(&world, KEY, (Saying){"a", "Pending", NULL, NULL, 5, 0, 0, 0, false});
    assert_int_equal(rows_of(&world, "all"), 3);
    say_it(&world, KEY, (Saying){"a", "Streaming", "all-y", NULL, 5, 4, 0, CHANNEL_NOT_SAID, true});
    next_is(&world, KEY, false);
    assert_int_equal(rows_of(&world, "all"), 4);
    assert_int_equal(rows_of(&world, "all-x"), -1);
    reports_free(world.reports);
}

/* Hundreds say something new all the time: so many are let through, and each as often. */
static void the_line_is_fair(void **state)
{
    (void)state;
    enum { MANY = 200, SECONDS = 40 };
    World world = world_of(10 * SECOND);
    static int times[MANY];
    char key[40];
    int all = 0;
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "c/retail/%d", i);
        reports_joined(world.reports, key, "a");
    }
    for (int tick = 0; tick < SECONDS * 20; tick++) {
        world.now_us += SECOND / 20;
        for (int i = 0; i < MANY && tick % 20 == 0; i++) {
            snprintf(key, sizeof key, "c/retail/%d", i);
            /* the first hundred change their phase all the time */
            say_it(&world, key,
                   (Saying){"a", i < MANY / 2 && tick % 40 ? "CatchingUp" : "Streaming", NULL, NULL,
                            tick, 0, 0, 0, true});
        }
        if (tick % 20 == 0)
            reports_scan(world.reports, world.now_us);
        bool figures;
        for (char *next; (next = reports_next(world.reports, world.now_us, true, &figures));
             free(next)) {
            times[atoi(next + strlen("c/retail/"))]++;
            all++;
        }
    }
    assert_true(all <= (SECONDS + 1) * REPORTS_WRITES_PER_S);
    assert_true(all >= (SECONDS - 1) * REPORTS_WRITES_PER_S);
    for (int i = 0; i < MANY; i++) {
        assert_true(times[i] >= 1);
        assert_true(times[i] <= 10);
    }
    reports_free(world.reports);
}

static char *scrape(World *world)
{
    Bytes text = {0};
    reports_write(world->reports, &text);
    bytes_put_u8(&text, '\0');
    return (char *)text.data;
}

static size_t series_of(const char *text)
{
    size_t count = 0;
    for (; (text = strstr(text, "\nfirn_agents_")); text++)
        count++;
    return count;
}

static void one_scrape_shows_all(void **state)
{
    (void)state;
    World world = world_of(0);
    reports_joined(world.reports, KEY, "a");
    say_it(&world, KEY,
           (Saying){"a", "Streaming", "orders", NULL, 5, 10, 0, CHANNEL_NOT_SAID, true});
    AUTO(mem_free) char *all = scrape(&world);
    assert_non_null(strstr(all, "# TYPE firn_agents_lag_bytes gauge\n"
                                "firn_agents_lag_bytes{kind=\"Connector\",namespace=\"retail\","
                                "name=\"shop\"} 5\n"));
    assert_non_null(strstr(all, "firn_agents_rows{kind=\"Connector\",namespace=\"retail\","
                                "name=\"shop\"} 10\n"));
    assert_non_null(strstr(all, "firn_agents_heard_timestamp_seconds{kind=\"Connector\","
                                "namespace=\"retail\",name=\"shop\"} 1000\n"));
    assert_null(strstr(all, "firn_agents_freshness_seconds{")); /* it was not said */
    reports_free(world.reports);
}

/* Labels are what resources are called: neither Pods nor tables add to them, and a resource that is
 * gone takes its own along. */
static void labels_are_bounded(void **state)
{
    (void)state;
    World world = world_of(0);
    reports_joined(world.reports, KEY, "a");
    say_it(&world, KEY, (Saying){"a", "Streaming", "t", NULL, 5, 10, 0, 1, true});
    AUTO(mem_free) char *few = scrape(&world);
    assert_int_equal(series_of(few), 3);
    for (int i = 0; i < 50; i++) {
        char pod[20], table[20];
        snprintf(pod, sizeof pod, "a-%d", i);
        snprintf(table, sizeof table, "t%d", i);
        reports_joined(world.reports, KEY, pod);
        say_it(&world, KEY, (Saying){pod, "Streaming", table, NULL, 5, 10, 0, 1, true});
    }
    AUTO(mem_free) char *many = scrape(&world);
    assert_int_equal(series_of(many), 3);
    assert_non_null(strstr(many, "name=\"shop\"} 255\n"));
    /* those that are connected still are not of nobody */
    bool figures;
    for (char *next; (next = reports_next(world.reports, world.now_us, true, &figures));
         free(next)) {
    }
    reports_forget(world.reports, KEY);
    reports_scan(world.reports, world.now_us);
    AUTO(mem_free) char *going = scrape(&world);
    assert_int_equal(series_of(going), 3);
    for (int i = 0; i < 50; i++) {
        char pod[20];
        snprintf(pod, sizeof pod, "a-%d", i);
        reports_left(world.reports, KEY, pod);
    }
    reports_left(world.reports, KEY, "a");
    for (int i = 0; i < 2; i++) { /* what is said of it at last is in line before */
        reports_scan(world.reports, world.now_us += SECOND);
        for (char *next; (next = reports_next(world.reports, world.now_us, true, &figures));
             free(next)) {
        }
    }
    AUTO(mem_free) char *gone = scrape(&world);
    assert_int_equal(series_of(gone), 0);
    /* and one of its name that comes later begins anew */
    Reported reported;
    reports_see(world.reports, KEY, 1, world.now_us, &reported);
    assert_false(reported.known);
    assert_int_equal(reported.heard_s, 0);
    reported_done(&reported);
    reports_free(world.reports);
}

/* A LakeTable repeats little: it is looked at when that was shown anew, and once for it. */
static void news_for_tables(void **state)
{
    (void)state;
    World world = world_of(60 * SECOND);
    Saying saying = {"a", "Streaming", "orders", NULL, 5, 10, 0, CHANNEL_NOT_SAID, true};
    reports_joined(world.reports, KEY, "a");
    say_it(&world, KEY, saying);
    assert_false(reports_has_news(world.reports, KEY, "orders")); /* it is not shown yet */
    next_is(&world, KEY, false);
    assert_false(reports_has_news(world.reports, KEY, "order"));
    assert_true(reports_has_news(world.reports, KEY, "orders"));
    assert_false(reports_has_news(world.reports, KEY, "orders"));
    for (int64_t upkeep = 1; upkeep < 4; upkeep++) {
        ChannelTable table = {.unit = mem_strdup("orders"),
                              .table = mem_strdup("public.orders"),
                              .rows = 10 + upkeep,
                              .commits = 1,
                              .upkeep = upkeep / 2};
        ChannelReport report = {.tables = &table, .table_count = 1, .whole = true};
        reports_said(world.reports, KEY, "a", &report, world.now_us, world.now_us / SECOND);
        channel_table_done(&table);
        world.now_us += 60 * SECOND;
        reports_scan(world.reports, world.now_us);
        next_is(&world, KEY, true);
        assert_int_equal(reports_has_news(world.reports, KEY, "orders"), upkeep != 3);
        assert_int_equal(rows_of(&world, "orders"), 10 + upkeep);
    }
    reports_free(world.reports);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_wait_and_words_do_not),
        cmocka_unit_test(consumers_lag),
        cmocka_unit_test(the_silent_are_found),
        cmocka_unit_test(a_connection_lingers),
        cmocka_unit_test(the_stopped_are_not_known),
        cmocka_unit_test(consumers_are_one),
        cmocka_unit_test(what_is_asked_is_done_by_one),
        cmocka_unit_test(tables_come_and_go),
        cmocka_unit_test(the_line_is_fair),
        cmocka_unit_test(news_for_tables),
        cmocka_unit_test(one_scrape_shows_all),
        cmocka_unit_test(labels_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

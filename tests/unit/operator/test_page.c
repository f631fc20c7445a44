/* links: firn_operator_page */
/* What the live page is told: what is new, to whom, and what went. */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "operator/page/page.h"

typedef struct World {
    PageSource source;
    View view;
} World;

static bool no(void *context)
{
    (void)context;
    return false;
}

static void unheard(void *context, Kind kind, const json_t *before, const json_t *now)
{
    (void)context, (void)kind, (void)before, (void)now;
}

static int start(void **state)
{
    World *world = mem_zalloc(sizeof *world);
    world->source = (PageSource){.cache = cache_new(), .reports = reports_new(0, 1), .works = no};
    *state = world;
    return 0;
}

static int stop(void **state)
{
    World *world = *state;
    view_done(&world->view);
    cache_free(world->source.cache);
    reports_free(world->source.reports);
    free(world);
    return 0;
}

static void put(World *world, Kind kind, const char *space, const char *name, const char *version,
                const char *spec, const char *status)
{
    AUTO(mem_free)
    char *text = mem_format("{\"apiVersion\":\"firn.dev/v1alpha1\",\"kind\":\"%s\",\"metadata\":{"
                            "\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"%s\","
                            "\"resourceVersion\":\"%s\"},\"spec\":%s,\"status\":%s}",
                            kinds[kind].name, name, space, name, version, spec, status);
    const CacheTaker nobody = {.changed = unheard};
    AUTO(feed_free) Feed *feed = feed_new(world->source.cache, kind, NULL, &nobody);
    WatchTaker into = feed_taker(feed);
    json_t *object = json_loads(text, 0, NULL);
    assert_non_null(object);
    into.changed(into.context, kind, object);
    json_decref(object);
}

/* The message; NULL: nothing is new. The caller's. */
static json_t *told(World *world, uint64_t since, const json_t *namespaces)
{
    Bytes text = {0};
    bool any = view_put(&world->view, since, namespaces, true, &text);
    json_t *word = json_loadb((const char *)text.data, text.used, 0, NULL);
    bytes_done(&text);
    assert_non_null(word);
    if (any)
        return word;
    json_decref(word);
    return NULL;
}

static void what_is_new(void **state)
{
    World *world = *state;
    put(world, KIND_CONNECTOR, "retail", "shop", "1", "{\"source\":{\"type\":\"PostgreSQL\"}}",
        "{\"phase\":\"Streaming\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","
        "\"reason\":\"Streaming\",\"message\":\"it follows\"},{\"type\":\"LogHeadroom\","
        "\"status\":\"False\",\"reason\":\"LogShort\",\"message\":\"little\"}]}");
    put(world, KIND_UNIT, "retail", "orders", "2",
        "{\"connectorRef\":{\"name\":\"shop\",\"table\":\"public.orders\"},\"sla\":{"
        "\"freshness\":\"1m\"}}",
        "{\"phase\":\"Streaming\",\"rows\":7}");
    put(world, KIND_UNIT, "other", "clicks", "3", "{\"kafka\":{\"topic\":\"clicks\"}}", "{}");
    view_look(&world->view, &world->source);
    AUTO(json_free) json_t *all = told(world, 0, NULL);
    const json_t *list = json_object_get(all, "pipelines");
    assert_true(json_is_true(json_object_get(all, "whole")));
    assert_int_equal(json_array_size(list), 2);
    const json_t *shop = json_array_get(list, 0), *clicks = json_array_get(list, 1);
    assert_string_equal(object_text(shop, "id"), "retail/c/shop");
    assert_string_equal(object_text(shop, "ready"), "True");
    assert_string_equal(object_text(json_array_get(json_object_get(shop, "warnings"), 0), "reason"),
                        "LogShort");
    const json_t *table = json_array_get(json_object_get(shop, "tables"), 0);
    assert_string_equal(object_text(table, "table"), "public.orders");
    assert_int_equal(json_integer_value(json_object_get(table, "promised")), 60000);
    assert_int_equal(json_integer_value(json_object_get(table, "rows")), 7);
    assert_string_equal(object_text(clicks, "id"), "other/u/clicks");
    assert_string_equal(object_text(clicks, "source.type"), "Kafka");
    /* nothing is new */
    uint64_t seen = world->view.version;
    view_look(&world->view, &world->source);
    assert_null(told(world, seen, NULL));
    /* one is other than before */
    put(world, KIND_UNIT, "retail", "orders", "4",
        "{\"connectorRef\":{\"name\":\"shop\",\"table\":\"public.orders\"}}", "{\"rows\":8}");
    view_look(&world->view, &world->source);
    AUTO(json_free) json_t *more = told(world, seen, NULL);
    assert_int_equal(json_array_size(json_object_get(more, "pipelines")), 1);
    assert_false(json_is_true(json_object_get(more, "whole")));
    /* and who may not see it is not told, from the beginning or later */
    AUTO(json_free) json_t *other = json_pack("{sb}", "other", 1);
    assert_null(told(world, seen, other));
    AUTO(json_free) json_t *own = told(world, 0, other);
    assert_int_equal(json_array_size(json_object_get(own, "pipelines")), 1);
    assert_string_equal(
        object_text(json_array_get(json_object_get(own, "pipelines"), 0), "namespace"), "other");
}

/* Live figures of the process that fills a table. */
static void what_agents_say(void **state)
{
    World *world = *state;
    put(world, KIND_CONNECTOR, "retail", "shop", "1", "{\"source\":{\"type\":\"MySQL\"}}", "{}");
    put(world, KIND_UNIT, "retail", "orders", "2",
        "{\"connectorRef\":{\"name\":\"shop\",\"table\":\"public.orders\"}}", "{}");
    ChannelTable table;
    channel_table_clear(&table);
    table.unit = mem_strdup("orders");
    table.table = mem_strdup("public.orders");
    table.rows = 5;
    table.changes = 11;
    ChannelReport report = {.has_flow = true, .whole = true, .tables = &table, .table_count = 1};
    channel_flow_clear(&report.flow);
    snprintf(report.flow.phase, sizeof report.flow.phase, "Streaming");
    report.flow.lag_bytes = 4096;
    reports_joined(world->source.reports, "c/retail/shop", "pod");
    reports_said(world->source.reports, "c/retail/shop", "pod", &report, 1000000, 1);
    channel_table_done(&table);
    view_look(&world->view, &world->source);
    AUTO(json_free) json_t *all = told(world, 0, NULL);
    const json_t *shop = json_array_get(json_object_get(all, "pipelines"), 0);
    assert_int_equal(json_integer_value(object_at(shop, "live.lag")), 4096);
    const json_t *first = json_array_get(json_object_get(shop, "tables"), 0);
    assert_int_equal(json_integer_value(object_at(first, "live.rows")), 5);
    assert_int_equal(json_integer_value(object_at(first, "live.changes")), 11);
}

static void assets_are_whole(void **state)
{
    (void)state;
    const Asset *page = asset_of("/");
    assert_non_null(page);
    assert_memory_equal(page->begin, "<!doctype html>", 15);
    assert_memory_equal(page->end - 8, "</html>\n", 8);
    assert_null(asset_of("/page.html"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_new, start, stop),
        cmocka_unit_test_setup_teardown(what_agents_say, start, stop),
        cmocka_unit_test(assets_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

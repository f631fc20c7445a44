/* links: firn_operator_cache */
/* What is kept of what the watches told. */
#include "tests/unit/unit.h"

#include "operator/cache/cache.h"
#include "operator/cache/pack.h"

typedef struct World {
    Cache *cache;
    Feed *feed;
    WatchTaker into;
    int changes; /* that were told */
} World;

static void count_change(void *context, Kind kind, const json_t *before, const json_t *now)
{
    (void)kind, (void)before, (void)now;
    ((World *)context)->changes++;
}

static void begin(World *world, Kind kind)
{
    CacheTaker taker = {.changed = count_change, .context = world};
    *world = (World){.cache = cache_new()};
    world->feed = feed_new(world->cache, kind, NULL, &taker);
    world->into = feed_taker(world->feed);
}

static void end(World *world)
{
    feed_free(world->feed);
    cache_free(world->cache);
}

static void a_secrets_values_are_never_kept(void **state)
{
    (void)state;
    World world;
    begin(&world, KIND_SECRET);
    AUTO(json_free)
    json_t *secret = json_pack("{s{ss ss ss s{ss}} s{ss}}", "metadata", "name", "s", "namespace",
                               "a", "resourceVersion", "7", "annotations", "x", "hunter2", "data",
                               "password", "hunter2");
    world.into.changed(world.into.context, KIND_SECRET, secret);
    AUTO(json_free) json_t *kept = cache_get(world.cache, KIND_SECRET, "a", "s");
    AUTO(mem_free) char *text = object_dump(kept);
    assert_null(strstr(text, "hunter2"));
    AUTO(mem_free) char *version = cache_version(world.cache, KIND_SECRET, "a", "s");
    assert_string_equal(version, "7");
    world.into.changed(world.into.context, KIND_SECRET, secret); /* the same again is no news */
    assert_int_equal(world.changes, 1);
    world.into.deleted(world.into.context, KIND_SECRET, secret);
    assert_null(cache_get(world.cache, KIND_SECRET, "a", "s"));
    assert_int_equal(world.changes, 2);
    end(&world);
}

static void what_was_written_is_ahead_of_its_event(void **state)
{
    (void)state;
    World world;
    begin(&world, KIND_CONNECTOR);
    const char *form = "{s{ss ss ss} s{ss}}";
    AUTO(json_free)
    json_t *old = json_pack(form, "metadata", "name", "c", "namespace", "a", "resourceVersion",
                            "99", "spec", "v", "old");
    AUTO(json_free)
    json_t *new = json_pack(form, "metadata", "name", "c", "namespace", "a", "resourceVersion",
                            "101", "spec", "v", "new");
    cache_put(world.cache, KIND_CONNECTOR, new);
    assert_null(cache_get(world.cache, KIND_CONNECTOR, "a", "c")); /* the watch names it first */
    world.into.changed(world.into.context, KIND_CONNECTOR, old);
    ObjectHead head = {.name = "c", .space = "a", .version = "101"};
    assert_false(world.into.known(world.into.context, KIND_CONNECTOR, &head));
    cache_put(world.cache, KIND_CONNECTOR, new);
    assert_true(world.into.known(world.into.context, KIND_CONNECTOR, &head));
    world.into.changed(world.into.context, KIND_CONNECTOR, old); /* late */
    AUTO(json_free) json_t *kept = cache_get(world.cache, KIND_CONNECTOR, "a", "c");
    assert_string_equal(object_text(kept, "spec.v"), "new");
    /* What goes with its last finalizer keeps its version. */
    json_object_set_new(json_object_get(new, "spec"), "v", json_string("newest"));
    cache_put(world.cache, KIND_CONNECTOR, new);
    AUTO(json_free) json_t *last = cache_get(world.cache, KIND_CONNECTOR, "a", "c");
    assert_string_equal(object_text(last, "spec.v"), "newest");
    assert_int_equal(world.changes, 1);
    end(&world);
}

static void things_are_found_by_what_they_name(void **state)
{
    (void)state;
    World world;
    begin(&world, KIND_UNIT);
    for (int i = 0; i < 1000; i++) {
        AUTO(mem_free) char *name = mem_format("u%d", i);
        json_t *unit = json_pack("{s{ss ss ss} s{s{ss}}}", "metadata", "name", name, "namespace",
                                 i % 2 ? "a" : "b", "resourceVersion", "1", "spec", "connectorRef",
                                 "name", i % 10 ? "other" : "shop");
        world.into.changed(world.into.context, KIND_UNIT, unit);
        json_decref(unit);
    }
    assert_int_equal(cache_count(world.cache, KIND_UNIT), 1000);
    AUTO(json_free) json_t *of_shop = cache_list(world.cache, KIND_UNIT, "b", 0, "shop");
    assert_int_equal(json_array_size(of_shop), 100);
    AUTO(json_free) json_t *elsewhere = cache_list(world.cache, KIND_UNIT, "a", 0, "shop");
    assert_int_equal(json_array_size(elsewhere), 0);
    AUTO(json_free) json_t *all = cache_list(world.cache, KIND_UNIT, NULL, 0, NULL);
    assert_int_equal(json_array_size(all), 1000);
    end(&world);
}

static json_t *unit_of(const char *version, const char *connector, const char *table,
                       const char *other)
{
    return json_pack("{s{ss ss ss} s{s{ss} s{ss} s{s{ss}}}}", "metadata", "name", "u", "namespace",
                     "a", "resourceVersion", version, "spec", "connectorRef", "name", connector,
                     "lakeTableRef", "name", table, "deadLetter", "lakeTableRef", "name", other);
}

static size_t found(Cache *cache, size_t at, const char *value)
{
    AUTO(json_free) json_t *list = cache_list(cache, KIND_UNIT, "a", at, value);
    return json_array_size(list);
}

static void another_name_is_another_place(void **state)
{
    (void)state;
    World world;
    begin(&world, KIND_UNIT);
    AUTO(json_free) json_t *first = unit_of("1", "shop", "x", "y");
    AUTO(json_free) json_t *twice = unit_of("2", "shop", "x", "x");
    AUTO(json_free) json_t *moved = unit_of("3", "shed", "y", "z");
    world.into.changed(world.into.context, KIND_UNIT, first);
    assert_int_equal(found(world.cache, 0, "shop"), 1);
    assert_int_equal(found(world.cache, 1, "shop"), 0); /* a table's name is no Connector's */
    assert_int_equal(found(world.cache, 1, "x"), 1);
    assert_int_equal(found(world.cache, 1, "y"), 1);
    cache_put(world.cache, KIND_UNIT, twice);
    assert_int_equal(found(world.cache, 1, "x"), 1);
    assert_int_equal(found(world.cache, 1, "y"), 0);
    world.into.changed(world.into.context, KIND_UNIT, moved);
    assert_int_equal(found(world.cache, 0, "shop"), 0);
    assert_int_equal(found(world.cache, 0, "shed"), 1);
    assert_int_equal(found(world.cache, 1, "x"), 0);
    assert_int_equal(found(world.cache, 1, "z"), 1);
    AUTO(mem_free) char *version = cache_version(world.cache, KIND_UNIT, "a", "u");
    assert_string_equal(version, "3");
    world.into.deleted(world.into.context, KIND_UNIT, moved);
    assert_int_equal(found(world.cache, 0, "shed"), 0);
    assert_int_equal(found(world.cache, 1, "z"), 0);
    end(&world);
}

/* --- what was said is known, but not what somebody else wants --- */

static json_t *said_of(const char *version, int generation, const char *asked)
{
    return json_pack("{s{ss ss ss si s{ss}} s{si} s{ss}}", "metadata", "name", "c", "namespace",
                     "a", "resourceVersion", version, "generation", generation, "annotations",
                     "firn.dev/resnapshot", asked, "spec", "v", generation, "status", "phase",
                     "Pending");
}

static void what_somebody_changed_meanwhile_is_left_to_the_watch(void **state)
{
    (void)state;
    World world;
    begin(&world, KIND_CONNECTOR);
    AUTO(json_free) json_t *first = said_of("10", 1, "one");
    AUTO(json_free) json_t *streams = json_pack("{ss}", "phase", "Streaming");
    world.into.changed(world.into.context, KIND_CONNECTOR, first);
    AUTO(json_free) json_t *read = cache_get(world.cache, KIND_CONNECTOR, "a", "c");

    AUTO(json_free) json_t *another_spec = said_of("12", 2, "one");
    AUTO(json_free) json_t *another_word = said_of("12", 1, "two");
    cache_said(world.cache, KIND_CONNECTOR, read, streams, another_spec);
    cache_said(world.cache, KIND_CONNECTOR, read, streams, another_word);
    ObjectHead head = {.name = "c", .space = "a", .version = "12"};
    assert_false(world.into.known(world.into.context, KIND_CONNECTOR, &head));
    AUTO(json_free) json_t *wish = said_of("11", 2, "one");
    world.into.changed(world.into.context, KIND_CONNECTOR, wish); /* is not passed over */
    assert_int_equal(world.changes, 2);

    AUTO(json_free) json_t *again = cache_get(world.cache, KIND_CONNECTOR, "a", "c");
    cache_said(world.cache, KIND_CONNECTOR, again, streams, another_spec);
    assert_true(world.into.known(world.into.context, KIND_CONNECTOR, &head));
    AUTO(json_free) json_t *kept = cache_get(world.cache, KIND_CONNECTOR, "a", "c");
    assert_string_equal(object_text(kept, "status.phase"), "Streaming");
    assert_int_equal(json_integer_value(object_at(kept, "spec.v")), 2);
    end(&world);
}

static void a_deployments_counts_are_at_hand(void **state)
{
    (void)state;
    World world;
    begin(&world, KIND_DEPLOYMENT);
    DeploymentCounts counts;
    assert_false(cache_counts(world.cache, "a", "d", &counts));
    for (int i = 1; i < 3; i++) { /* the second time what was seen is what is wanted */
        AUTO(mem_free) char *version = mem_format("%d", i);
        AUTO(json_free)
        json_t *deployment =
            json_pack("{s{ss ss ss si} s{si} s{si si si si si}}", "metadata", "name", "d",
                      "namespace", "a", "resourceVersion", version, "generation", 2, "spec",
                      "replicas", 5, "status", "observedGeneration", i, "replicas", 4,
                      "updatedReplicas", 3, "readyReplicas", 2, "availableReplicas", 1);
        world.into.changed(world.into.context, KIND_DEPLOYMENT, deployment);
        assert_true(cache_counts(world.cache, "a", "d", &counts));
        assert_int_equal(counts.seen, i == 2);
        assert_int_equal(counts.wanted, 5);
        assert_int_equal(counts.replicas, 4);
        assert_int_equal(counts.updated, 3);
        assert_int_equal(counts.ready, 2);
        assert_int_equal(counts.available, 1);
    }
    end(&world);
}

static void what_goes_is_not_there_any_more(void **state)
{
    (void)state;
    World world;
    begin(&world, KIND_LAKE_TABLE);
    AUTO(json_free)
    json_t *table = json_pack("{s{ss ss ss}}", "metadata", "name", "t", "namespace", "a",
                              "resourceVersion", "1");
    assert_false(cache_has(world.cache, KIND_LAKE_TABLE, "a", "t"));
    world.into.changed(world.into.context, KIND_LAKE_TABLE, table);
    assert_true(cache_has(world.cache, KIND_LAKE_TABLE, "a", "t"));
    json_t *meta = json_object_get(table, "metadata");
    json_object_set_new(meta, "resourceVersion", json_string("2"));
    json_object_set_new(meta, "deletionTimestamp", json_string("2026-01-01T00:00:00Z"));
    world.into.changed(world.into.context, KIND_LAKE_TABLE, table);
    assert_false(cache_has(world.cache, KIND_LAKE_TABLE, "a", "t"));
    end(&world);
}

/* --- packed --- */

static void packed_texts_are_what_they_were(void **state)
{
    (void)state;
    AUTO(packer_free) Packer *packer = packer_new();
    size_t most = (size_t)1 << 20;
    AUTO(mem_free) char *large = mem_alloc(most + 1);
    uint64_t number = 1;
    for (size_t i = 0; i < most; i++) {
        number = number * UINT64_C(6364136223846793005) + 1442695040888963407;
        large[i] = (char)(1 + (number >> 33) % 255);
    }
    large[most] = '\0';
    AUTO(json_free) json_t *unit = unit_of("1", "shop", "orders", "dead");
    AUTO(mem_free) char *usual = object_dump(unit);
    const char *const texts[] = {"", "{}", usual, large, usual, "{}"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        AUTO(mem_free) Packed *packed = pack(packer, texts[i]);
        AUTO(mem_free) char *text = unpack(packer, packed);
        assert_string_equal(text, texts[i]);
        assert_int_equal(packed->text_bytes, strlen(texts[i]));
    }
    AUTO(mem_free) Packed *packed = pack(packer, usual);
    assert_true(packed->bytes * 2 < packed->text_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secrets_values_are_never_kept),
        cmocka_unit_test(what_was_written_is_ahead_of_its_event),
        cmocka_unit_test(things_are_found_by_what_they_name),
        cmocka_unit_test(another_name_is_another_place),
        cmocka_unit_test(what_somebody_changed_meanwhile_is_left_to_the_watch),
        cmocka_unit_test(a_deployments_counts_are_at_hand),
        cmocka_unit_test(what_goes_is_not_there_any_more),
        cmocka_unit_test(packed_texts_are_what_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

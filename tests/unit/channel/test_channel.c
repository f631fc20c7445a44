/* links: firn_channel firn_operator_channel */
/* Both ends in one process. */
#include "tests/unit/unit.h"

#include "tests/unit/channel/both_ends.h"

#define TEXT 0x81

static void a_report_arrives(void **state)
{
    (void)state;
    World world;
    world_start(&world);
    world_listen(&world);
    AUTO(mem_free) char *table = metrics_label("table", "public.orders");
    AUTO(mem_free) char *unit = metrics_label("unit", "retail/orders");
    AUTO(mem_free) char *labels = mem_format("%s,%s", table, unit);
    Metric *rows = metrics_register(METRIC_GAUGE, "firn_table_rows", "Rows", labels);
    metric_set(rows, 42);
    atomic_store(&world.lag, 7);
    world_report(&world, "good:shop-1");
    WAIT_FOR(heard_of(&world).whole && heard_of(&world).lag == 7);
    Heard heard = heard_of(&world);
    assert_string_equal(heard.owner, "c/retail/shop");
    assert_string_equal(heard.pod, "shop-1");
    assert_string_equal(heard.phase, "Streaming");
    assert_int_equal(heard.rows, 42);
    assert_int_equal(heard.tables, 1);
    /* what is new alone */
    atomic_store(&world.lag, 8);
    WAIT_FOR(heard_of(&world).lag == 8);
    assert_int_equal(heard_of(&world).tables, 1);
    metric_set(rows, 43);
    WAIT_FOR(heard_of(&world).rows == 43);
    assert_int_equal(heard_of(&world).tables, 2);
    assert_int_equal(heard_of(&world).joined, 1);
    channel_client_stop(world.client);
    world.client = NULL;
    WAIT_FOR(heard_of(&world).left == 1);
    world_stop(&world);
}

typedef struct Obeyed {
    atomic_int words;
    atomic_bool pauses;
    char text[64]; /* whole when words has grown */
} Obeyed;

static Obeyed obeyed;

static void obey(void *context, const ChannelOrders *orders)
{
    (void)context;
    const char *const texts[] = {orders->resnapshot, orders->positions, orders->rollback};
    obeyed.text[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i])
            snprintf(obeyed.text, sizeof obeyed.text, "%zu %s", i, texts[i]);
    atomic_store(&obeyed.pauses, orders->pause);
    atomic_fetch_add(&obeyed.words, 1);
}

/* What is asked before there is anybody, and while there is; once for each change, and by another
 * operator, and another connection, again. */
static void orders_arrive(void **state)
{
    (void)state;
    static char text[] = "public.orders 1 alice", place[] = "0:17 2";
    const ChannelOrders copies = {.resnapshot = text}, pauses = {.pause = true};
    const ChannelOrders moves = {.positions = place}, rolls = {.rollback = place};
    World world;
    obeyed = (Obeyed){0};
    world_start(&world);
    world_listen(&world);
    channel_order(world.channel, "c/retail/shop", &copies);
    channel_order(world.channel, "c/retail/other", &pauses);
    world.ordered = obey;
    world_report(&world, "good:shop-1");
    WAIT_FOR(atomic_load(&obeyed.words) == 1);
    assert_string_equal(obeyed.text, "0 public.orders 1 alice");
    assert_false(atomic_load(&obeyed.pauses));
    channel_order(world.channel, "c/retail/shop", &copies); /* known */
    channel_order(world.channel, "c/retail/shop", &pauses);
    WAIT_FOR(atomic_load(&obeyed.words) == 2);
    assert_string_equal(obeyed.text, "");
    assert_true(atomic_load(&obeyed.pauses));
    channel_order(world.channel, "c/retail/shop", NULL);
    WAIT_FOR(atomic_load(&obeyed.words) == 3);
    assert_false(atomic_load(&obeyed.pauses));
    channel_order(world.channel, "c/retail/shop", &copies);
    WAIT_FOR(atomic_load(&obeyed.words) == 4);
    channel_client_stop(world.client);
    world_report(&world, "good:shop-1");
    WAIT_FOR(atomic_load(&obeyed.words) == 5);
    assert_string_equal(obeyed.text, "0 public.orders 1 alice");
    channel_order(world.channel, "c/retail/shop", &moves);
    WAIT_FOR(atomic_load(&obeyed.words) == 6);
    assert_string_equal(obeyed.text, "1 0:17 2");
    channel_order(world.channel, "c/retail/shop", &rolls);
    WAIT_FOR(atomic_load(&obeyed.words) == 7);
    assert_string_equal(obeyed.text, "2 0:17 2");
    world_stop(&world);
}

/* Thousands of tables are many messages, and each of them arrives. */
static void many_tables(void **state)
{
    (void)state;
    World world;
    world_start(&world);
    world_listen(&world);
    for (int i = 0; i < 500; i++) {
        AUTO(mem_free)
        char *labels = mem_format("table=\"public.t%d\",unit=\"retail/all-public-t%d\"", i, i);
        metric_set(metrics_register(METRIC_GAUGE, "firn_table_rows", "Rows", labels), i);
    }
    world_report(&world, "good:shop-1");
    WAIT_FOR(heard_of(&world).whole);
    assert_true(heard_of(&world).tables >= 500);
    assert_true(heard_of(&world).reports >= 5);
    world_stop(&world);
}

/* The one that works is gone, another one comes: it is found, and told everything. */
static void another_operator(void **state)
{
    (void)state;
    World world;
    char reason[64];
    world_start(&world);
    world_listen(&world);
    world_report(&world, "good:shop-1");
    WAIT_FOR(heard_of(&world).whole);
    AUTO(mem_free) char *trusted = channel_trust(world.channel);
    channel_stop(world.channel);
    assert_int_equal(heard_of(&world).left, 1);
    WAIT_FOR(!channel_client_is_heard(world.client, reason));
    world.heard = (Heard){0};
    atomic_store(&world.lag, 9);
    int64_t began_us = clock_mono_us();
    world_listen(&world);
    AUTO(mem_free) char *again = channel_trust(world.channel);
    assert_string_equal(again, trusted); /* the keys are kept */
    WAIT_FOR(heard_of(&world).whole && heard_of(&world).lag == 9);
    assert_true(clock_mono_us() - began_us < 20000000);
    world_stop(&world);
}

static void who_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *token, *reason;
    } cases[] = {{"good:other-1", "ForeignPod"},
                 {"elsewhere", "TokenRefused"},
                 {"expired", "TokenRefused"},
                 {"node", "NoPod"}};
    World world;
    world_start(&world);
    world_listen(&world);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Peer peer = peer_open(&world);
        Bytes hello = {0};
        channel_put_hello(&hello, cases[i].token, "1");
        peer_send(&peer, TEXT, hello.data, hello.used);
        peer_is_refused(&peer, cases[i].reason);
        peer_close(&peer);
        bytes_done(&hello);
    }
    /* the same token again is not asked about again, for a while */
    int reviews = world.reviews;
    Peer peer = peer_open(&world);
    Bytes hello = {0};
    channel_put_hello(&hello, "expired", "1");
    peer_send(&peer, TEXT, hello.data, hello.used);
    peer_is_refused(&peer, "TokenRefused");
    peer_close(&peer);
    bytes_done(&hello);
    assert_int_equal(world.reviews, reviews);
    assert_int_equal(heard_of(&world).joined, 0);
    assert_int_equal(heard_of(&world).reports, 0);
    Bytes text = {0};
    metrics_write(&text);
    bytes_put_u8(&text, '\0');
    assert_non_null(
        strstr((char *)text.data, "firn_channel_refused_total{reason=\"TokenRefused\"} 3\n"));
    assert_non_null(
        strstr((char *)text.data, "firn_channel_refused_total{reason=\"ForeignPod\"} 1\n"));
    bytes_done(&text);
    world_stop(&world);
}

/* An agent is told why, and goes on trying: what is mended meanwhile is found. */
static void a_refused_agent_tries_again(void **state)
{
    (void)state;
    World world;
    char reason[64] = "";
    world_start(&world);
    world_listen(&world);
    world.down = true;
    world_report(&world, "expired");
    WAIT_FOR((channel_client_is_heard(world.client, reason), strcmp(reason, "NotNow") == 0));
    pthread_mutex_lock(&world.lock);
    world.down = false;
    pthread_mutex_unlock(&world.lock);
    WAIT_FOR((channel_client_is_heard(world.client, reason), strcmp(reason, "TokenRefused") == 0));
    write_file(world.token_file, "good:shop-2\n"); /* renewed, as the kubelet does it */
    WAIT_FOR(heard_of(&world).whole);
    world_stop(&world);
}

static void nobody_else_is_told(void **state)
{
    (void)state;
    World world;
    char reason[64] = "";
    world_start(&world);
    world_listen(&world);
    Authority other = {0};
    assert_true(authority_renew(&other, "localhost", clock_wall_us() / 1000000));
    write_file(world.ca_file, other.ca); /* a CA that did not sign it */
    world_report(&world, "good:shop-1");
    WAIT_FOR((channel_client_is_heard(world.client, reason), reason[0] != '\0'));
    assert_int_equal(world.reviews, 0); /* the token was not shown */
    AUTO(mem_free) char *trust = channel_trust(world.channel);
    write_file(world.ca_file, trust);
    WAIT_FOR(heard_of(&world).whole);
    channel_client_stop(world.client);
    channel_stop(world.channel);
    /* of the right CA, for another name */
    world.options.host = "other.example";
    world_listen(&world);
    int reviews = world.reviews;
    world_report(&world, "good:shop-3");
    WAIT_FOR((channel_client_is_heard(world.client, reason), reason[0] != '\0'));
    assert_int_equal(world.reviews, reviews);
    authority_done(&other);
    world_stop(&world);
}

static Peer heard_peer(World *world, const char *token)
{
    Peer peer = peer_open(world);
    char text[128];
    Bytes hello = {0};
    channel_put_hello(&hello, token, "1");
    peer_send(&peer, TEXT, hello.data, hello.used);
    bytes_done(&hello);
    assert_int_equal(peer_take(&peer, text, sizeof text), 1);
    assert_string_equal(text, "{\"welcome\":{\"version\":1}}");
    return peer;
}

static void odd_words(void **state)
{
    (void)state;
    static const char *const odd[] = {"",
                                      "[]",
                                      "{\"report\":[]}",
                                      "{\"report\":{\"flow\":{}}}",
                                      "\"hello\"",
                                      "{\"hello\":{}}",
                                      "{\"report\":{\"tables\":[{\"table\":\"\"}]}}",
                                      "{\"hello\":{\"version\":1,\"token\":\"x\"}}",
                                      "{\"report\":{\"flow\":{\"phase\":\"\xff\"}}}"};
    World world;
    world_start(&world);
    world_listen(&world);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        Peer peer = heard_peer(&world, "good:shop-1");
        peer_send(&peer, TEXT, odd[i], strlen(odd[i]));
        peer_is_refused(&peer, "BadWord");
        peer_close(&peer);
    }
    /* before it is known who it is */
    Peer peer = peer_open(&world);
    static const char early[] = "{\"report\":{\"flow\":{\"phase\":\"Streaming\"}}}";
    peer_send(&peer, TEXT, early, sizeof early - 1);
    peer_is_refused(&peer, "BadWord");
    peer_close(&peer);
    /* of a version that is newer */
    peer = heard_peer(&world, "good:shop-1");
    static const char newer[] = "{\"poem\":{\"a\":1}}",
                      known[] = "{\"report\":{\"flow\":{\"phase\":\"Streaming\",\"lag\":5,"
                                "\"mood\":\"good\"},\"whole\":true}}";
    peer_send(&peer, TEXT, newer, sizeof newer - 1);
    /* in pieces, with a ping in between */
    peer_send(&peer, 0x01, known, 10);
    peer_send(&peer, 0x89, "p", 1);
    peer_send(&peer, 0x80, known + 10, sizeof known - 11);
    WAIT_FOR(heard_of(&world).lag == 5);
    peer_close(&peer);
    world_stop(&world);
}

static void floods(void **state)
{
    (void)state;
    World world;
    world_start(&world);
    world_listen(&world);
    Bytes large = {0};
    for (int i = 0; i < 70000; i++)
        bytes_put_u8(&large, ' ');
    Peer peer = peer_open(&world); /* by nobody known */
    peer_send(&peer, TEXT, large.data, large.used);
    peer_is_refused(&peer, "TooLarge");
    peer_close(&peer);
    bytes_done(&large);
    peer = heard_peer(&world, "good:shop-1");
    static const char report[] = "{\"report\":{}}";
    for (int i = 0; i < 400; i++)
        peer_send(&peer, TEXT, report, sizeof report - 1);
    peer_is_refused(&peer, "TooFast");
    peer_close(&peer);
    assert_true(heard_of(&world).reports < 400);
    WAIT_FOR(heard_of(&world).left == 1);
    world_stop(&world);
}

static void too_many(void **state)
{
    (void)state;
    World world;
    world_start(&world);
    world.options.connections_max = 2;
    world_listen(&world);
    Peer one = heard_peer(&world, "good:shop-1"), two = heard_peer(&world, "good:shop-2");
    Peer three = peer_open(&world);
    peer_is_refused(&three, "TooMany");
    peer_close(&three);
    peer_close(&one);
    WAIT_FOR(heard_of(&world).left == 1);
    Peer four = heard_peer(&world, "good:shop-4");
    peer_close(&two);
    peer_close(&four);
    world_stop(&world);
}

static void silence(void **state)
{
    (void)state;
    World world;
    world_start(&world);
    world.options.silence_us = 4000000;
    world_listen(&world);
    Peer peer = heard_peer(&world, "good:shop-1");
    peer_is_refused(&peer, "Silent");
    peer_close(&peer);
    world_stop(&world);
}

static const char *value_of(World *world, const char *key)
{
    return json_string_value(json_object_get(json_object_get(world->secret, "data"), key));
}

static void keys_are_kept(void **state)
{
    (void)state;
    World world;
    world_start(&world);
    world.conflicts = true; /* another operator made them at the same time: its own hold */
    Authority first, again;
    Error err = {0};
    int64_t now_s = clock_wall_us() / 1000000;
    assert_true(channel_secret(world.api, &world.options, now_s, &first, &err));
    assert_int_equal(world.versions, 1);
    assert_true(channel_secret(world.api, &world.options, now_s, &again, &err));
    assert_int_equal(world.versions, 1);
    assert_string_equal(first.cert, again.cert);
    assert_string_equal(first.ca_key, again.ca_key);
    assert_non_null(value_of(&world, "tls.key"));
    assert_null(value_of(&world, "next.crt"));
    authority_done(&first);
    authority_done(&again);
    /* somebody else's are read alone */
    world.options.secret_is_foreign = true;
    assert_true(channel_secret(world.api, &world.options, now_s, &again, &err));
    authority_done(&again);
    json_object_del(json_object_get(world.secret, "data"), "ca.crt");
    assert_false(channel_secret(world.api, &world.options, now_s, &again, &err));
    assert_string_equal(err.code, "SecretMissing");
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_int_equal(world.versions, 1);
    world_stop(&world);
}

static json_t *make_secret(World *world)
{
    Authority made;
    Error err = {0};
    assert_true(
        channel_secret(world->api, &world->options, clock_wall_us() / 1000000, &made, &err));
    authority_done(&made);
    return TAKE(world->secret);
}

static int looks_of(World *world)
{
    pthread_mutex_lock(&world->lock);
    int looks = world->looks;
    pthread_mutex_unlock(&world->lock);
    return looks;
}

static void put_secret(World *world, const json_t *secret)
{
    pthread_mutex_lock(&world->lock);
    json_decref(world->secret);
    world->secret = json_deep_copy(secret);
    int looks = world->looks;
    pthread_mutex_unlock(&world->lock);
    WAIT_FOR(looks_of(world) >= looks + 2); /* the second after what came of the first */
}

/* Somebody else's keys and CA are others one day: they are followed, by who runs. */
static void others_keys_are_followed(void **state)
{
    (void)state;
    World world;
    world_start(&world);
    AUTO(json_free) json_t *first = make_secret(&world);
    AUTO(json_free) json_t *second = make_secret(&world);
    AUTO(json_free) json_t *broken = json_deep_copy(second);
    json_object_set(json_object_get(broken, "data"), "tls.key",
                    json_object_get(json_object_get(first, "data"), "tls.key"));
    world.secret = json_deep_copy(broken);
    world.options.secret_is_foreign = true;
    Error err = {0};
    assert_null(channel_start(world.api, &world.options, &(ChannelTaker){0}, &err));
    assert_string_equal(err.code, "BadKeys");
    json_decref(world.secret);
    world.secret = json_deep_copy(first);
    world.options.keys_us = 50000;
    int versions = world.versions;
    world_listen(&world);
    world_report(&world, "good:shop-1");
    WAIT_FOR(heard_of(&world).whole);
    AUTO(mem_free) char *trust = channel_trust(world.channel);
    put_secret(&world, broken); /* a key that is not the certificate's */
    AUTO(mem_free) char *still = channel_trust(world.channel);
    assert_string_equal(still, trust);
    put_secret(&world, second);
    AUTO(mem_free) char *now = channel_trust(world.channel);
    assert_string_not_equal(now, trust);
    assert_int_equal(heard_of(&world).left, 0); /* nobody was sent away for it */
    channel_client_stop(TAKE(world.client));
    write_file(world.ca_file, now); /* and of the CA before it nobody can be told from a stranger */
    int joined = heard_of(&world).joined;
    world_report(&world, "good:shop-2");
    WAIT_FOR(heard_of(&world).joined > joined);
    assert_int_equal(world.versions, versions); /* it was not written */
    world_stop(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_arrives),
        cmocka_unit_test(orders_arrive),
        cmocka_unit_test(many_tables),
        cmocka_unit_test(another_operator),
        cmocka_unit_test(who_is_refused),
        cmocka_unit_test(a_refused_agent_tries_again),
        cmocka_unit_test(nobody_else_is_told),
        cmocka_unit_test(odd_words),
        cmocka_unit_test(floods),
        cmocka_unit_test(too_many),
        cmocka_unit_test(silence),
        cmocka_unit_test(keys_are_kept),
        cmocka_unit_test(others_keys_are_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* links: firn_kafka */
/* A member of a group, against librdkafka's mock cluster: whom it asks, and until when. */
#include "agent/kafka/member.h"

#include "common/clock.h"
#include "tests/unit/kafka/cluster.h"

#define API_HEARTBEAT 12
#define PARTITIONS 4

typedef struct Asker {
    int asked;
    bool gone;
} Asker;

static bool next_of(void *context, uint32_t partition, uint64_t *ret)
{
    Asker *asker = context;
    assert_false(asker->gone);
    assert_true(partition < PARTITIONS);
    asker->asked++;
    *ret = 0;
    return false;
}

static KafkaMember *member_up(Cluster *cluster, Asker *asker)
{
    Error err = {0};
    const KafkaMemberOptions options = {
        .client = {.client_id = "test", .field = "spec.stream.kafka"},
        .group = "group",
        .topic = "numbers",
        .session_ms = 6000,
        .next = next_of,
        .context = asker};
    assert_int_equal(setenv("FIRN_TOPIC_ID_MS", "0", 1), 0);
    *cluster = cluster_up(1, "numbers", PARTITIONS);
    rd_kafka_mock_start_request_tracking(cluster->mock);
    KafkaMember *member = kafka_member_open(&cluster->stream.kafka, &options, &err);
    if (!member)
        fail_msg("%s: %s", err.code, err.message);
    return member;
}

/* A member's heart beats from when the group has dealt it its partitions. */
static bool heart_beats(const Cluster *cluster)
{
    size_t count;
    bool found = false;
    rd_kafka_mock_request_t **requests = rd_kafka_mock_get_requests(cluster->mock, &count);
    for (size_t i = 0; i < count; i++)
        found = found || rd_kafka_mock_request_api_key(requests[i]) == API_HEARTBEAT;
    rd_kafka_mock_request_destroy_array(requests, count);
    return found;
}

static void asks_for_each_partition(void **state)
{
    (void)state;
    Cluster cluster;
    Asker asker = {0};
    KafkaHeard heard = {0};
    Error err = {0};
    KafkaMember *member = member_up(&cluster, &asker);
    for (int64_t until_us = clock_mono_us() + SOON_MS * INT64_C(1000);
         heard.kind != KAFKA_HEARD_DEALT && clock_mono_us() < until_us;)
        assert_true(kafka_member_next(member, 100, &heard, &err));
    assert_int_equal(heard.kind, KAFKA_HEARD_DEALT);
    assert_int_equal(asker.asked, PARTITIONS);
    asker.gone = true;
    kafka_member_free(member);
    cluster_down(&cluster);
}

/* Its owner leaves while partitions wait to be dealt out to it. */
static void leaving_asks_nobody(void **state)
{
    (void)state;
    Cluster cluster;
    Asker asker = {0};
    KafkaMember *member = member_up(&cluster, &asker);
    for (int64_t until_us = clock_mono_us() + SOON_MS * INT64_C(1000);
         !heart_beats(&cluster) && clock_mono_us() < until_us;)
        clock_sleep_us(10000);
    assert_true(heart_beats(&cluster));
    assert_int_equal(asker.asked, 0);
    asker.gone = true;
    kafka_member_free(member);
    cluster_down(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_each_partition),
        cmocka_unit_test(leaving_asks_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* One table's thread: opens what it needs, loops until it is told to stop or something ends it. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/ingest/flow.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/text.h"

#define IDLE_MS 10
#define BURST 512 /* records between two looks at the rest */
#define PIECE_ROWS_MAX 1000000
#define DEADLINE_US INT64_C(30000000)
#define REPEAT_US INT64_C(1000000)
#define GAP_US INT64_C(60000000) /* where the topic does not tell for how long it keeps … */
#define GAP_MOST_US INT64_C(3600000000) /* … and what a restart reads again of what is no row */
#define ENOUGH_ROWS 10000
#define RETRY_US INT64_C(500000)
#define LOOK_US INT64_C(10000000)

/* Of a route, and of dead letters, with its table behind a letter that no resource's name has. */
char *feed_group_name(const Feed *feed)
{
    bool one_of_several = feed->routes || feed->of_letters;
    char *group = mem_format("firn-%s%s%s", feed->unit, one_of_several ? "_" : "",
                             one_of_several ? feed->name : "");
    for (char *at = group; *at; at++)
        if (*at == '/')
            *at = '-';
    return group;
}

bool feed_open_member(Feed *feed, bool (*next)(void *context, uint32_t partition, uint64_t *ret),
                      Error *err)
{
    AUTO(mem_free) char *group = feed_group_name(feed);
    const KafkaMemberOptions options = {
        .client = {.client_id = group, .field = ingest_kafka_field(feed->ingest)},
        .group = group,
        .topic = feed->topic,
        .queue_bytes = feed->ingest->queue_max,
        .session_ms = clock_asked_us("FIRN_SESSION_MS", 0) / 1000,
        .next = next,
        .context = feed};
    feed->member = kafka_member_open(&feed->ingest->stream->kafka, &options, err);
    return feed->member != NULL;
}

bool feed_topic_stands(Feed *feed, bool sure, Error *err)
{
    Error why = {0};
    int64_t now_us = clock_mono_us();
    if (sure ? !feed->unsure : now_us < feed->look_us)
        return true;
    KafkaSame same = kafka_member_same(feed->member, &why);
    feed->look_us = now_us + LOOK_US;
    feed->unsure = feed->unsure && same != KAFKA_SAME;
    if (same == KAFKA_SAME || (!sure && same == KAFKA_UNTOLD))
        return true;
    *err = why;
    return false;
}

static bool open_group(Feed *feed, Error *err)
{
    AUTO(mem_free) char *group = feed_group_name(feed);
    AUTO(mem_free) char *control = mem_format("%s-control", group);
    const KafkaClientOptions client = {.client_id = group,
                                       .field = ingest_kafka_field(feed->ingest)};
    feed->channel = kafka_channel_open(&feed->ingest->stream->kafka, &client, control, err);
    return feed->channel && feed_open_member(feed, feed_lane_next, err);
}

/* What a unit's own topic was declared to keep; 0: nothing. */
static int64_t declared_ms(const Feed *feed)
{
    return feed->own ? feed->own->retention_ms : 0;
}

static FeedRetention judge_retention(const Feed *feed, int64_t kept_ms)
{
    if (!kept_ms && declared_ms(feed))
        return RETENTION_LIMITED;
    if (kept_ms < declared_ms(feed))
        return RETENTION_SHORT;
    return kept_ms && kept_ms / 4 < feed->spec->commit_interval_ms ? RETENTION_HURRIED
                                                                   : RETENTION_KEPT;
}

/* What is wrong stands in the log with its figures, and in the unit's condition TopicRetention. */
static void compare_retention(const Feed *feed, int64_t kept_ms)
{
    static const char *const says[] = {
        [RETENTION_HURRIED] = "a quarter of what the topic keeps is less than commitInterval: the "
                              "table is committed that often",
        [RETENTION_LIMITED] = "the topic has a limit in bytes, and may keep its records for less "
                              "than spec.kafka.retention says",
        [RETENTION_SHORT] = "the topic keeps its records for less than spec.kafka.retention says"};
    char kept[32], declared[32], interval[32];
    FeedRetention found = judge_retention(feed, kept_ms);
    if (feed->metrics.retention)
        metric_set(feed->metrics.retention, found);
    if (found == RETENTION_KEPT)
        return;
    log_warn(says[found], LOG_T("table", feed->name), LOG_T("topic", feed->topic),
             LOG_T("keeps", text_duration_format(kept_ms, kept, sizeof kept)),
             LOG_T("declared", text_duration_format(declared_ms(feed), declared, sizeof declared)),
             LOG_T("commit_interval", text_duration_format(feed->spec->commit_interval_ms, interval,
                                                           sizeof interval)));
}

/* A quarter of the time that the topic keeps its records for, or, where it does not tell, of what
 * is declared; 0: not known. FIRN_SETTINGS_MS: see topics.c. */
static int64_t quarter_us(Feed *feed)
{
    Error why = {0};
    int64_t kept_ms = 0;
    bool asks = clock_asked_us("FIRN_SETTINGS_MS", 1000) != 0;
    if (asks && kafka_member_retention(feed->member, &kept_ms, &why)) {
        compare_retention(feed, kept_ms);
    } else {
        kept_ms = declared_ms(feed);
        if (asks)
            log_info("the topic's retention is not known", LOG_T("table", feed->name),
                     LOG_T("reason", why.code), LOG_T("error", why.message));
    }
    return kept_ms < INT64_MAX / 250 ? kept_ms * 250 : INT64_MAX;
}

static int64_t least_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Half of the freshness that is asked for is left for staging and committing; and within a quarter
 * of its retention the table moves on in the topic, whatever else is asked. */
static CoordinatorOptions options_of(Feed *feed)
{
    int64_t asked_us = feed->freshness_ms * 500, quarter = quarter_us(feed);
    int64_t interval_us =
        least_of(feed->spec->commit_interval_ms * 1000, quarter ? quarter : INT64_MAX);
    return (CoordinatorOptions){.interval_us =
                                    asked_us ? least_of(asked_us, interval_us) : interval_us,
                                .quiet_us = least_of(asked_us, quarter ? quarter : GAP_US),
                                .enough_rows = ENOUGH_ROWS,
                                .deadline_us = DEADLINE_US,
                                .repeat_us = REPEAT_US,
                                .gap_us = quarter ? least_of(quarter, GAP_MOST_US) : GAP_US,
                                .doubt_us = clock_asked_us("FIRN_DOUBT_MS", COMMIT_STALE_US)};
}

static void open_machines(Feed *feed)
{
    uint32_t lanes = kafka_member_partitions(feed->member);
    uint64_t id;
    ASSERT(lanes && lanes <= GROUP_LANES_MAX);
    ssize_t got = getrandom(&id, sizeof id, 0);
    ASSERT(got == sizeof id);
    feed->lanes = mem_array(lanes, sizeof *feed->lanes);
    feed->worker_lanes = mem_array(lanes, sizeof *feed->worker_lanes);
    feed->coordinator_lanes = mem_array(lanes, sizeof *feed->coordinator_lanes);
    feed->values = mem_array(lanes, sizeof *feed->values);
    worker_init(&feed->worker, id, feed->worker_lanes, lanes, PIECE_ROWS_MAX);
    const CoordinatorOptions options = options_of(feed);
    coordinator_init(&feed->coordinator, &options, feed->coordinator_lanes, feed->values, lanes);
    feed->lane_count = lanes;
}

static bool open_feed(Feed *feed, Error *err)
{
    if (feed->of_letters && !feed_letters_prepare(feed, err))
        return error_wrap(err, "table %s", feed->name);
    if (!feed_learn_columns(feed, err) || !open_group(feed, err))
        return error_wrap(err, "table %s", feed->name);
    open_machines(feed);
    feed->committer =
        committer_start(&(CommitterOptions){.spec = feed->spec,
                                            .unit = feed->unit,
                                            .name = feed->name,
                                            .ordering = feed->ordering,
                                            .replay = feed->own ? feed->own->replay_id : NULL,
                                            .request = feed->request,
                                            .columns = feed->columns});
    return true;
}

static void close_feed(Feed *feed)
{
    committer_stop(TAKE(feed->committer));
    feed_lanes_free(feed);
    feed_letters_free(feed);
    kafka_member_free(TAKE(feed->member));
    kafka_channel_free(TAKE(feed->channel));
    table_close(TAKE(feed->table));
    lake_close(TAKE(feed->lake));
    event_reader_free(TAKE(feed->reader));
    feed_routes_free(feed);
    registry_free(TAKE(feed->registry));
    schema_free(TAKE(feed->columns));
    control_done(&feed->heard);
    bytes_done(&feed->words);
    free(TAKE(feed->worker_lanes));
    free(TAKE(feed->coordinator_lanes));
    free(TAKE(feed->values));
}

/* Takes what there is, at most BURST records. */
static bool read_some(Feed *feed, int timeout_ms, Error *err)
{
    KafkaHeard heard;
    for (int i = 0; i < BURST; i++) {
        if (!kafka_member_next(feed->member, i ? 0 : timeout_ms, &heard, err))
            return false;
        if (heard.kind == KAFKA_HEARD_NOTHING)
            return true;
        if (heard.kind == KAFKA_HEARD_RECORD)
            metric_add(feed->metrics.records, 1);
        feed_heard(feed, &heard);
        if (heard.kind == KAFKA_HEARD_DEALT ? !feed_dealt(feed, err)
                                            : !feed_take(feed, &heard, err))
            return false;
    }
    return true;
}

static bool loop(Feed *feed, Error *err)
{
    for (;;) {
        bool stopping = feed_stopping(feed);
        if (stopping && !feed_drains(feed))
            return true;
        if (!read_some(feed, IDLE_MS, err) || !feed_group(feed, err) || !feed_work(feed, err) ||
            !feed_topic_stands(feed, false, err))
            return false;
        feed_show(feed);
    }
}

/* Columns that are not known yet, a topic that is not there yet: the capture may be on its way. */
static bool is_early(const Error *err)
{
    return strcmp(err->code, "SchemaMissing") == 0 || strcmp(err->code, "TopicMissing") == 0;
}

static bool open_patiently(Feed *feed, Error *err)
{
    bool said = false;
    for (;;) {
        Error why = {0};
        if (open_feed(feed, &why))
            return true;
        if (!is_early(&why)) {
            *err = why;
            return false;
        }
        if (!said)
            log_info("waiting for the topic", LOG_T("table", feed->name), LOG_T("reason", why.code),
                     LOG_T("error", why.message));
        said = true;
        close_feed(feed);
        for (int64_t until_us = clock_mono_us() + RETRY_US;
             clock_mono_us() < until_us && !feed_stopping(feed);)
            clock_sleep_us(20000);
        if (feed_stopping(feed))
            return error_set(err, ERROR_RETRY, "Stopped", "stopped while waiting for the topic");
    }
}

void feed_run(void *argument)
{
    Feed *feed = argument;
    feed->ok = open_patiently(feed, &feed->error) && loop(feed, &feed->error);
    close_feed(feed);
    atomic_store(&feed->ended, true);
}

/* The machines of agent/commit and what goes between: words to and from the other processes, jobs
 * for the committer. What is said to everybody is heard here at once. */
#include <inttypes.h>
#include <string.h>

#include "agent/ingest/flow.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#define DRAIN_US INT64_C(20000000)

static int64_t now_us(void)
{
    return clock_mono_us();
}

/* ---------- words ---------- */
static void say(Feed *feed)
{
    kafka_channel_say(feed->channel, feed->words.data, feed->words.used);
}

/* A lane's chain is nearly as long as it may be: its consumer waits for a commit. */
static void hurry(Feed *feed)
{
    Coordinator *coordinator = &feed->coordinator;
    if (coordinator->state != COORDINATOR_RESTING)
        return;
    for (uint32_t i = 0; i < feed->lane_count; i++)
        if (coordinator->lanes[i].count >= GROUP_CHAIN_MAX / 2)
            coordinator->round_us = now_us();
}

void feed_report(Feed *feed, const Report *report)
{
    bytes_clear(&feed->words);
    control_put_report(&feed->words, feed->worker.id, report);
    say(feed);
    if (feed->coordinates)
        coordinator_reported(&feed->coordinator, report, now_us());
}

static void hear_announcement(Feed *feed, const Announcement *announcement)
{
    worker_announced(&feed->worker, announcement);
    atomic_store(&feed->reads, true);
}

static bool hear(Feed *feed, Error *err)
{
    const void *word;
    size_t bytes;
    for (;;) {
        if (!kafka_channel_hear(feed->channel, 0, &word, &bytes, err))
            return false;
        if (!word)
            return true;
        control_take(word, bytes, &feed->heard);
        if (feed->heard.sender == feed->worker.id)
            continue; /* heard already */
        if (feed->heard.kind == CONTROL_ANNOUNCEMENT)
            hear_announcement(feed, &feed->heard.announcement);
        else if (feed->heard.kind == CONTROL_REPORT && feed->coordinates)
            coordinator_reported(&feed->coordinator, &feed->heard.report, now_us());
    }
}

/* ---------- dealing ---------- */
bool feed_dealt(Feed *feed, Error *err)
{
    uint32_t count;
    uint64_t generation;
    const uint32_t *lanes = kafka_member_dealt(feed->member, &count, &generation);
    bool coordinates = false;
    for (uint32_t i = 0; i < count; i++) {
        if (lanes[i] >= feed->lane_count)
            return error_set(err, ERROR_RETRY, "PartitionsAdded",
                             "topic %s has more partitions now", feed->topic);
        coordinates = coordinates || lanes[i] == 0;
    }
    log_info("partitions are dealt out", LOG_T("table", feed->name), LOG_U("partitions", count),
             LOG_U("generation", generation), LOG_T("commits", coordinates ? "yes" : "no"));
    worker_assigned(&feed->worker, lanes, count);
    metric_set(feed->metrics.lanes, count);
    metric_set(feed->metrics.coordinates, coordinates);
    if (coordinates)
        coordinator_start(&feed->coordinator, generation, now_us());
    else if (feed->coordinates) {
        coordinator_stop(&feed->coordinator);
        feed->forget_due = true; /* others commit from here on */
    }
    feed->coordinates = coordinates;
    return true;
}

/* ---------- the committer ---------- */
static void ask_load(Feed *feed, const CoordinatorAction *action)
{
    CommitJob *job = mem_zalloc(sizeof *job);
    *job = (CommitJob){
        .kind = JOB_LOAD, .ticket = action->ticket, .head = action->head, .commit = action->commit};
    committer_ask(feed->committer, job);
    feed->asked = true;
}

static void add_pieces(CommitJob *job, uint32_t lane, const Piece *pieces, uint32_t count)
{
    job->pieces = mem_regrow(job->pieces, job->piece_count + count + 1, sizeof *job->pieces);
    for (uint32_t i = 0; i < count; i++)
        if (pieces[i].rows)
            job->pieces[job->piece_count++] = (PieceName){lane, pieces[i].from, pieces[i].id};
}

static void ask_commit(Feed *feed, const CoordinatorAction *action)
{
    Coordinator *coordinator = &feed->coordinator;
    CommitJob *job = mem_zalloc(sizeof *job);
    job->kind = action->kind == COORDINATOR_RESEND ? JOB_RESEND : JOB_COMMIT;
    job->ticket = action->ticket;
    job->head = action->head;
    job->commit = action->commit;
    job->barrier = *action->barrier;
    job->lane_count = action->lane_count;
    job->lanes = mem_array((size_t)action->lane_count + 1, sizeof *job->lanes);
    memcpy(job->source, coordinator->source, sizeof job->source);
    for (uint32_t i = 0; i < action->lane_count; i++) {
        uint32_t count;
        const Piece *pieces = coordinator_taken(coordinator, i, &count, &job->lanes[i]);
        add_pieces(job, i, pieces, count);
    }
    committer_ask(feed->committer, job);
    feed->asked = true;
}

#define ANEW "drop the table and delete the consumer group"

static bool stalled(const Feed *feed, StallReason reason, Error *err)
{
    static const char *const texts[STALL_REASONS] = {
        [STALL_TABLE_DROPPED] = "was dropped, or made anew, after rows of it were committed; put "
                                "the old one back, or, to fill it anew, delete the consumer group",
        [STALL_ROLLED_BACK] = "was rolled back behind what was committed from the topic; make the "
                              "snapshot its property firn.position names its head again, or go on "
                              "from the one that is (" ANNOTATION_ROLLBACK
                              " on the unit, with its id), or, to fill it anew, " ANEW,
        [STALL_SOURCE_CHANGED] = "was filled from another topic (or cluster) than the unit names "
                                 "now, or from one that was deleted and made again; point it back, "
                                 "or, to fill it from this one, " ANEW,
        [STALL_TOPIC_TRUNCATED] = "needs records next that the topic no longer has: they were "
                                  "deleted before they were read; to go on with those that are "
                                  "there, " ANNOTATION_POSITIONS " on a unit whose topic others "
                                  "fill (Earliest); to fill it from these (capture --resnapshot "
                                  "sends every row again), " ANEW,
        [STALL_LANE_UNANNOUNCED] = "knows fewer partitions than the topic has, and nothing in the "
                                   "topic says where the new ones begin: they were not added by "
                                   "firn-agent capture (`partitions` of the Connector); to fill "
                                   "it from all of them, " ANEW,
        [STALL_BARRIER_MALFORMED] = "meets a marker in the topic that can't stand there: the topic "
                                    "was copied, or another program writes to it; make the topic "
                                    "anew, then " ANEW,
    };
    AUTO(mem_free) char *group = feed_group_name(feed);
    ASSERT(texts[reason]);
    return error_set(err, ERROR_CONFIG, stall_reason_name(reason), "table %s (%s.%s) %s %s",
                     feed->name, feed->spec->database, feed->spec->table_name, texts[reason],
                     group);
}

static void announce(Feed *feed, const Announcement *announcement)
{
    bytes_clear(&feed->words);
    control_put_announcement(&feed->words, feed->worker.id, announcement);
    say(feed);
    log_debug("announced", LOG_T("table", feed->name), LOG_U("serial", announcement->serial),
              LOG_I("asks", announcement->asks), LOG_U("lanes", announcement->lane_count));
    hear_announcement(feed, announcement);
    if (announcement->asks)
        return;
    AUTO(mem_free) uint64_t *offsets = mem_array((size_t)feed->lane_count + 1, sizeof *offsets);
    for (uint32_t i = 0; i < announcement->lane_count && i < feed->lane_count; i++)
        offsets[i] = announcement->lanes[i].next;
    kafka_member_commit(feed->member, offsets, feed->lane_count);
}

static bool coordinate(Feed *feed, Error *err)
{
    CoordinatorAction action;
    while (!feed->asked && coordinator_next(&feed->coordinator, &action))
        switch (action.kind) {
        case COORDINATOR_LOAD:
            ask_load(feed, &action);
            break;
        case COORDINATOR_ANNOUNCE:
            announce(feed, &action.announcement);
            break;
        case COORDINATOR_COMMIT:
        case COORDINATOR_RESEND:
            ask_commit(feed, &action);
            break;
        case COORDINATOR_STALL:
            return stalled(feed, action.reason, err);
        }
    return true;
}

/* Each coordinator until the first commit says it anew. */
bool feed_find_starts(Feed *feed, uint64_t *starts, Error *err)
{
    const StreamSpec *own = feed->own;
    bool latest = own && own->start_latest;
    uint64_t end;
    if (own && own->start_ms != INT64_MIN) {
        log_info("the table begins at a time", LOG_T("table", feed->name),
                 LOG_T("time", own->start_from));
        return kafka_member_at(feed->member, own->start_ms, starts, err);
    }
    for (uint32_t i = 0; i < feed->lane_count; i++) {
        if (!kafka_member_bounds(feed->member, i, &starts[i], &end, err))
            return false;
        if (!latest)
            continue;
        starts[i] = end;
        log_info("the table begins at the topic's end", LOG_T("table", feed->name),
                 LOG_U("partition", i), LOG_U("offset", end));
    }
    return true;
}

/* Markers of more partitions that the topic no longer has: they count as passed. */
static void pass_lost(const TableState *state, LaneValue *starts, uint32_t count)
{
    for (size_t k = 0; k < state->grown_count; k++) {
        const Growth *growth = &state->grown[k];
        uint32_t after =
            k + 1 < state->grown_count ? state->grown[k + 1].partitions : state->partitions;
        for (uint32_t i = 0; i < after && i < count; i++)
            if (starts[i].next >= (i < growth->partitions ? growth->ends[i] : 1))
                starts[i].passed = feed_place_behind(growth->at);
    }
}

/* Where a table without a commit begins: each coordinator until the first commit says it anew. */
static bool find_starts(Feed *feed, LaneValue *ret, Error *err)
{
    AUTO(mem_free) uint64_t *starts = mem_array((size_t)feed->lane_count + 1, sizeof *starts);
    if (!feed_find_starts(feed, starts, err))
        return false;
    for (uint32_t i = 0; i < feed->lane_count; i++)
        ret[i] = (LaneValue){.next = starts[i]};
    pass_lost(feed->state, ret, feed->lane_count);
    return true;
}

/* The topic, for a table that was loaded. Its first offsets count only where the table has no
 * claim.
 */
static bool loaded(Feed *feed, CommitResult *result, Error *err)
{
    const TableView *view = &result->view;
    bool asked = false;
    if (!feed->coordinator.loaded && (!feed_rewind(feed, result, &asked, err) || asked))
        return asked;
    AUTO(mem_free) LaneValue *starts = mem_array((size_t)feed->lane_count + 1, sizeof *starts);
    TopicView topic = {.source = kafka_member_source(feed->member),
                       .lane_count = feed->lane_count,
                       .starts = starts,
                       .unmarked = feed->own || feed->of_letters};
    if (!view->has_claim && !feed->coordinator.loaded) {
        if (!find_starts(feed, starts, err))
            return false;
        if (!kafka_member_committed(feed->member, &topic.confirmed, err))
            return false;
    }
    coordinator_loaded(&feed->coordinator, result->ticket, view, &topic, now_us());
    return true;
}

static void committed(Feed *feed)
{
    TableFigures figures;
    supervised_committed(&feed->ingest->base, feed->name);
    committer_figures(feed->committer, &figures);
    atomic_fetch_add(&feed->commits, 1);
    metric_add(feed->metrics.commits, 1);
    metric_set(feed->metrics.table_rows, (double)figures.rows);
    metric_set(feed->metrics.upkeep, table_upkeep(&figures));
    metric_set(feed->metrics.committed, (double)clock_wall_us() / 1e6);
}

static bool take_result(Feed *feed, CommitResult *result, Error *err)
{
    static const char *const kinds[] = {"load", "commit", "resend", "forget"};
    log_debug("the table answers", LOG_T("table", feed->name), LOG_T("to", kinds[result->kind]),
              LOG_I("answer", result->answer), LOG_I("ok", result->ok), LOG_I("id", result->id));
    switch (result->kind) {
    case JOB_FORGET:
        return true;
    case JOB_LOAD:
        if (result->ok)
            return loaded(feed, result, err);
        supervised_failed(&feed->ingest->base, feed->name, &result->error);
        coordinator_load_failed(&feed->coordinator, result->ticket, now_us());
        return true;
    case JOB_COMMIT:
    case JOB_RESEND:
        if (result->answer == ANSWER_DONE)
            committed(feed);
        else if (result->answer != ANSWER_CONFLICT)
            supervised_failed(&feed->ingest->base, feed->name, &result->error);
        coordinator_answered(&feed->coordinator, result->ticket, result->answer, result->id,
                             result->sequence, now_us());
        return true;
    }
    return false;
}

static bool take_answer(Feed *feed, Error *err)
{
    CommitResult *result;
    if (!committer_take(feed->committer, &result, err)) {
        commit_result_free(result);
        return false;
    }
    if (!result)
        return true;
    feed->asked = false;
    bool ok = take_result(feed, result, err);
    commit_result_free(result);
    return ok;
}

bool feed_group(Feed *feed, Error *err)
{
    if (!hear(feed, err) || (feed->asked && !take_answer(feed, err)))
        return false;
    if (feed->forget_due && !feed->asked) {
        CommitJob *job = mem_zalloc(sizeof *job);
        job->kind = JOB_FORGET;
        committer_ask(feed->committer, job);
        feed->asked = true;
        feed->forget_due = false;
    }
    if (!feed->coordinates)
        return true;
    hurry(feed);
    coordinator_tick(&feed->coordinator, now_us());
    return coordinate(feed, err);
}

/* ---------- the end ---------- */
/* One more round, of what was read by now. A consumer that does not commit leaves at once: what it
 * has staged is reported, the rest is read again by others. */
bool feed_drains(Feed *feed)
{
    Coordinator *coordinator = &feed->coordinator;
    int64_t now = now_us();
    if (!feed->coordinates || !coordinator->loaded || coordinator->state == COORDINATOR_STALLED)
        return false;
    if (!feed->drain_until_us)
        feed->drain_until_us = now + DRAIN_US;
    if (now > feed->drain_until_us)
        return false;
    if (coordinator->state != COORDINATOR_RESTING)
        return true;
    if (feed->drained)
        return false;
    feed->drained = true;
    coordinator->round_us = now;
    return true;
}

/* A table goes on from elsewhere than where it stands, before anything else is done in a
 * coordinator's term: a replay (spec.kafka.replay), other offsets (the annotation
 * firn.dev/positions) or a rollback (firn.dev/rollback). Each is one change of the table, which
 * says that it is done: whoever coordinates next, and however often it is asked for, it is not done
 * again. It is only begun when the topic has every record that is to be read.
 *
 * A table behind a topic that others fill gets a value that it never had, so that nothing fits that
 * was staged before. In one behind a Connector's topic the source's position counts, which goes
 * with the offset: it can go back to where it once stood, and nowhere else. */
#include <inttypes.h>
#include <string.h>

#include "agent/ingest/flow.h"
#include "common/log.h"
#include "common/mem.h"

/* ---------- what the manifest asks for ---------- */
/* Of a table that is this topic's and stands in it. */
static bool replay_is_due(const Feed *feed, const CommitResult *result)
{
    const TableView *view = &result->view;
    const char *id = feed->own ? feed->own->replay_id : NULL;
    return id && view->exists && view->has_claim && view->is_ancestor &&
           !(result->replayed && strcmp(result->replayed, id) == 0) &&
           strcmp(view->source, kafka_member_source(feed->member)) == 0 &&
           view->lane_count <= feed->lane_count;
}

static bool outside(const Feed *feed, const ReplayOffset *one, const char *why, uint64_t bound,
                    Error *err)
{
    return error_set(err, ERROR_CONFIG, "ReplayOutside",
                     "table %s: spec.kafka.replay.offsets names partition %u, offset %" PRIu64
                     ", of topic %s, %s %" PRIu64
                     "; name one that is there, under another id or the same",
                     feed->name, one->partition, one->offset, feed->topic, why, bound);
}

/* Another value than it ever had. */
static LaneValue moved(const LaneValue *lane, uint64_t next)
{
    return (LaneValue){.next = next, .passed = {lane->passed.major + 1, 0}};
}

/* Where each partition is to be read from: never behind where it is read already. */
static bool find_replay(Feed *feed, LaneValue *lanes, uint32_t count, Error *err)
{
    const StreamSpec *stream = feed->own;
    AUTO(mem_free) uint64_t *starts = mem_array((size_t)feed->lane_count + 1, sizeof *starts);
    uint64_t end;
    for (uint32_t i = 0; i < feed->lane_count; i++)
        if (!kafka_member_bounds(feed->member, i, &starts[i], &end, err))
            return false;
    for (size_t i = 0; i < stream->replay_offsets.count; i++) {
        const ReplayOffset *one = &stream->replay_offsets.items[i];
        if (one->partition >= count)
            return outside(feed, one, "of which the table's partitions are", count, err);
        if (one->offset < starts[one->partition])
            return outside(feed, one, "which begins there at", starts[one->partition], err);
    }
    if (stream->replay_ms != INT64_MIN &&
        !kafka_member_at(feed->member, stream->replay_ms, starts, err))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t from = stream->replay_from ? starts[i] : lanes[i].next;
        for (size_t k = 0; k < stream->replay_offsets.count; k++)
            if (stream->replay_offsets.items[k].partition == i)
                from = stream->replay_offsets.items[k].offset;
        if (from >= lanes[i].next)
            continue;
        log_info("the topic is read once more", LOG_T("table", feed->name),
                 LOG_T("replay", stream->replay_id), LOG_U("partition", i), LOG_U("from", from),
                 LOG_U("to", lanes[i].next));
        lanes[i] = moved(&lanes[i], from);
    }
    return true;
}

/* The load once more, and before it the way to `lanes`, which are taken. */
static void ask(Feed *feed, const CommitResult *result, const char *what, char *done,
                int64_t snapshot, LaneValue *lanes, uint32_t count)
{
    CommitJob *job = mem_zalloc(sizeof *job);
    *job = (CommitJob){.kind = JOB_LOAD,
                       .ticket = result->ticket,
                       .head = result->view.head,
                       .lanes = lanes,
                       .lane_count = count,
                       .what = what,
                       .done = done,
                       .snapshot = snapshot};
    memcpy(job->source, result->source, sizeof job->source);
    committer_ask(feed->committer, job);
    feed->asked = true;
}

static LaneValue *copy_of(const LaneValue *lanes, uint32_t count)
{
    LaneValue *copy = mem_array((size_t)count + 1, sizeof *copy);
    memcpy(copy, lanes, count * sizeof *copy);
    return copy;
}

static bool ask_replay(Feed *feed, const CommitResult *result, Error *err)
{
    const TableView *view = &result->view;
    LaneValue *lanes = copy_of(view->lanes, view->lane_count);
    if (!find_replay(feed, lanes, view->lane_count, err)) {
        free(lanes);
        return false;
    }
    ask(feed, result, "replay", mem_strdup(feed->own->replay_id), 0, lanes, view->lane_count);
    return true;
}

/* ---------- what a person asks for ---------- */
static const char *what_of(const UnitRequest *request)
{
    return request->kind == UNIT_ROLLBACK ? "rollback" : "positions";
}

/* "<id> <from> <to>" → the last two, as one text each; "": they are not there. */
static void split(const char *said, char from[REQUEST_PLACE_BYTES], char to[REQUEST_PLACE_BYTES])
{
    const char *first = strchr(said, ' '), *second = first ? strchr(first + 1, ' ') : NULL;
    from[0] = to[0] = '\0';
    if (!second)
        return;
    snprintf(from, REQUEST_PLACE_BYTES, "%.*s", (int)(second - first - 1), first + 1);
    snprintf(to, REQUEST_PLACE_BYTES, "%s", second + 1);
}

static bool is_done(const UnitRequest *request, const char *said)
{
    size_t bytes = strlen(request->id);
    return said && strncmp(said, request->id, bytes) == 0 &&
           (said[bytes] == ' ' || said[bytes] == '\0');
}

static void settle(Feed *feed, RequestState state, const char *why, const char *said)
{
    char from[REQUEST_PLACE_BYTES], to[REQUEST_PLACE_BYTES];
    split(said, from, to);
    feed->request_settled = true;
    supervised_unit_asked(&feed->ingest->base, feed->request->id, state, why, from, to);
}

/* The snapshot, and the lanes as a position's text has them: "8123@1200,88,0". */
static char *place_of(int64_t snapshot, const LaneValue *lanes, uint32_t count)
{
    AUTO(mem_free) char *text = lane_position_format("", lanes, count);
    return mem_format("%" PRId64 "%s", snapshot, text);
}

static bool refuse(Error *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(Error *why, const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set(why, ERROR_CONFIG, "RequestRefused", "%s", text);
}

/* Is every record there that is to be read then? */
static bool topic_has(Feed *feed, const LaneValue *lanes, uint32_t count, Error *err)
{
    for (uint32_t i = 0; i < feed->lane_count; i++) {
        uint64_t start, end, next = i < count ? lanes[i].next : 0;
        if (!kafka_member_bounds(feed->member, i, &start, &end, err))
            return false;
        if (next < start)
            return refuse(err,
                          "partition %u of the topic begins at offset %" PRIu64
                          " by now, and from %" PRIu64
                          " on it would have to be read: go to a later place",
                          i, start, next);
        if (next > end)
            return refuse(err,
                          "partition %u of the topic ends at offset %" PRIu64 ", before %" PRIu64
                          ": go to an earlier place",
                          i, end, next);
    }
    return true;
}

static bool find_positions(Feed *feed, const UnitRequest *request, LaneValue *lanes, uint32_t count,
                           Error *err)
{
    AUTO(mem_free) uint64_t *starts = mem_array((size_t)feed->lane_count + 1, sizeof *starts);
    uint64_t end;
    if (request->at_ms != INT64_MIN && !kafka_member_at(feed->member, request->at_ms, starts, err))
        return false;
    for (uint32_t i = 0; i < count && request->at_ms == INT64_MIN; i++) {
        if (!kafka_member_bounds(feed->member, i, &starts[i], &end, err))
            return false;
        if (request->latest)
            starts[i] = end;
        if (request->offsets.count)
            starts[i] = lanes[i].next;
    }
    for (size_t k = 0; k < request->offsets.count; k++) {
        const ReplayOffset *one = &request->offsets.items[k];
        if (one->partition >= count)
            return refuse(err, "the table knows of %u partitions, and %u is none of them", count,
                          one->partition);
        starts[one->partition] = one->offset;
    }
    for (uint32_t i = 0; i < count; i++)
        if (starts[i] != lanes[i].next)
            lanes[i] = moved(&lanes[i], starts[i]);
    return true;
}

/* *lanes: as the table stands; becomes as it is to stand. */
static bool find_lanes(Feed *feed, const CommitResult *result, LaneValue **lanes,
                       uint32_t *ret_count, Error *err)
{
    const TableView *view = &result->view;
    *ret_count = view->lane_count;
    if (feed->request->kind == UNIT_POSITIONS)
        return (feed->ingest->alone ||
                refuse(err, "the topic is a Connector's, whose rows have their place in the "
                            "source's log: go back to a snapshot, by " ANNOTATION_ROLLBACK)) &&
               find_positions(feed, feed->request, *lanes, *ret_count, err);
    if (result->back_error.code[0]) {
        *err = result->back_error;
        return false;
    }
    if (strcmp(result->back.source, result->source) != 0)
        return refuse(err, "that snapshot was filled from another topic, or one that was deleted "
                           "and made again: go back to a later one");
    /* new values for all: what was staged from any of those that it stood at since fits no more */
    LaneValue *back = copy_of(result->back.lanes, result->back.lane_count);
    for (uint32_t i = 0; i < result->back.lane_count && feed->ingest->alone; i++)
        back[i] = moved(i < view->lane_count ? &(*lanes)[i] : &back[i], back[i].next);
    free(*lanes);
    *lanes = back;
    *ret_count = result->back.lane_count;
    return true;
}

static bool ask_request(Feed *feed, const CommitResult *result, bool *ret_asked, Error *err)
{
    const UnitRequest *request = feed->request;
    const TableView *view = &result->view;
    Error why = {0};
    LaneValue *lanes = copy_of(view->lanes, view->lane_count);
    uint32_t count;
    if (!find_lanes(feed, result, &lanes, &count, &why) || !topic_has(feed, lanes, count, &why)) {
        free(lanes);
        if (why.kind != ERROR_CONFIG) {
            *err = why;
            return false;
        }
        AUTO(mem_free) char *text = mem_format("%s: %s", why.code, why.message);
        settle(feed, REQUEST_REFUSED, text, "");
        return true;
    }
    int64_t snapshot = request->kind == UNIT_ROLLBACK ? result->back_snapshot : 0;
    AUTO(mem_free) char *from = place_of(view->snapshot, view->lanes, view->lane_count);
    AUTO(mem_free) char *to = place_of(snapshot ? snapshot : view->snapshot, lanes, count);
    log_info("the table goes on from elsewhere", LOG_T("table", feed->name),
             LOG_T("request", what_of(request)), LOG_T("id", request->id), LOG_T("by", request->by),
             LOG_T("from", from), LOG_T("to", to));
    supervised_unit_asked(&feed->ingest->base, request->id, REQUEST_RUNNING, "", "", "");
    ask(feed, result, what_of(request), mem_format("%s %s %s", request->id, from, to), snapshot,
        lanes, count);
    *ret_asked = true;
    return true;
}

bool feed_rewind(Feed *feed, const CommitResult *result, bool *ret_asked, Error *err)
{
    const TableView *view = &result->view;
    const UnitRequest *request = feed->request;
    if (replay_is_due(feed, result))
        return *ret_asked = ask_replay(feed, result, err);
    if (!request->target || feed->request_settled || !view->exists)
        return true;
    if (is_done(request, result->requested)) {
        settle(feed, REQUEST_DONE, "", result->requested);
        return true;
    }
    if (!view->has_claim || strcmp(view->source, kafka_member_source(feed->member)) != 0) {
        settle(feed, REQUEST_REFUSED, "nothing of this topic was committed to the table yet", "");
        return true;
    }
    if (request->kind == UNIT_POSITIONS && !view->is_ancestor)
        return true; /* others rolled it back: that comes first */
    return ask_request(feed, result, ret_asked, err);
}

/* links: firn_operator_status firn_operator_lease */
#include "tests/unit/operator/objects.h"

#include <stdio.h>

#include "operator/lease/lease.h"
#include "operator/status/status.h"

static const Condition none[] = {{0}};
static const Condition some[] = {{"Fresh", "Unknown", "NotReported", "not yet"}, {0}};

static const char *of(const json_t *object, const char *type, const char *field)
{
    const char *text = object_text(condition_of(object, type), field);
    assert_non_null(text);
    return text;
}

/* Writes the status as the server would; returns whether it was new. */
static bool write_status(json_t *object, State state, const Condition *others, int64_t now_s)
{
    bool changed;
    json_t *status = status_of(object, &state, others, NULL, now_s, &changed);
    json_object_set_new(object, "status", status);
    return changed;
}

static void conditions_follow_kstatus(void **state)
{
    (void)state;
    AUTO(json_free) json_t *object = parsed("{\"metadata\": {\"generation\": 3}}");
    State making = state_of(HEALTH_PROGRESS, "Pending", "Creating", "it is being made");
    State ready = state_of(HEALTH_READY, "Streaming", "Streaming", "it follows");
    State stalled = state_of(HEALTH_STALLED, "Stalled", "SlotMissing", "the slot is gone");
    assert_true(write_status(object, making, some, 1000));
    assert_string_equal(of(object, "Ready", "status"), "Unknown"); /* at first touch */
    assert_string_equal(of(object, "Reconciling", "status"), "True");
    assert_string_equal(of(object, "Stalled", "status"), "False");
    assert_string_equal(of(object, "Fresh", "status"), "Unknown");
    assert_int_equal(json_integer_value(object_at(object, "status.observedGeneration")), 3);
    assert_false(write_status(object, making, some, 2000)); /* nothing new, nothing written */

    assert_true(write_status(object, ready, some, 3000));
    assert_string_equal(of(object, "Ready", "status"), "True");
    assert_string_equal(of(object, "Reconciling", "status"), "False");
    assert_string_equal(of(object, "Ready", "lastTransitionTime"), "1970-01-01T00:50:00Z");
    assert_string_equal(of(object, "Stalled", "lastTransitionTime"), "1970-01-01T00:16:40Z");
    assert_string_equal(object_text(object, "status.phase"), "Streaming");

    assert_true(write_status(object, making, some, 4000));
    assert_string_equal(of(object, "Ready", "status"), "False"); /* no longer */
    assert_true(write_status(object, stalled, some, 5000));
    assert_string_equal(of(object, "Stalled", "status"), "True");
    assert_string_equal(of(object, "Stalled", "reason"), "SlotMissing");
    assert_string_equal(of(object, "Ready", "reason"), "SlotMissing");
    assert_string_equal(of(object, "Reconciling", "status"), "False");
    assert_string_equal(of(object, "Ready", "lastTransitionTime"), "1970-01-01T01:06:40Z");
    assert_int_equal(condition_age_s(object, "Stalled", 5007), 7);
    assert_int_equal(condition_age_s(object, "Nothing", 5007), -1);
}

static void a_new_generation_is_said(void **state)
{
    (void)state;
    AUTO(json_free) json_t *object = parsed("{\"metadata\": {\"generation\": 1}}");
    State ready = state_of(HEALTH_READY, "Streaming", "Streaming", "it follows");
    assert_true(write_status(object, ready, none, 1000));
    json_object_set_new(json_object_get(object, "metadata"), "generation", json_integer(2));
    assert_true(write_status(object, ready, none, 2000));
    assert_string_equal(of(object, "Ready", "lastTransitionTime"), "1970-01-01T00:16:40Z");
}

typedef struct Seen {
    const char *deployment, *pods;
    Health health;
    const char *phase, *reason, *message; /* a part of it */
} Seen;

#define NOW_S 2000
#define REFUSED_BEFORE(state)                                                                      \
    "{\"name\": \"agent\", \"ready\": false, \"state\": {" state                                   \
    "}, \"lastState\": {\"terminated\": {\"exitCode\": 3, \"message\": "                           \
    "\"noise\\n{\\\"msg\\\":\\\"stopped\\\",\\\"reason\\\":\\\"SlotMissing\\\","                   \
    "\\\"error\\\":\\\"slot firn_shop is gone\\\"}\\n\"}}}"

#define WHOLE "\"observedGeneration\": 2, \"replicas\": 1, \"updatedReplicas\": 1"
#define DEPLOYMENT(replicas, status)                                                               \
    "{\"metadata\": {\"generation\": 2}, \"spec\": {\"replicas\": " replicas                       \
    "}, \"status\": {" status "}}"
#define POD(container) "[{\"metadata\": {}, \"status\": {\"containerStatuses\": [" container "]}}]"

static const Seen seen[] = {
    {NULL, "[]", HEALTH_PROGRESS, "Pending", "Creating", ""},
    {DEPLOYMENT("1", WHOLE ", \"availableReplicas\": 1"), "[]", HEALTH_READY, "Streaming",
     "Streaming", ""},
    {DEPLOYMENT("1", "\"observedGeneration\": 1, \"replicas\": 1, \"updatedReplicas\": 1, "
                     "\"availableReplicas\": 1"),
     "[]", HEALTH_PROGRESS, "Pending", "RollingOut", ""},
    {DEPLOYMENT("1", WHOLE), "[]", HEALTH_PROGRESS, "Pending", "Starting", "0 of 1"},
    {DEPLOYMENT("0", "\"observedGeneration\": 2"), "[]", HEALTH_READY, "Stopped", "Stopped", ""},
    {DEPLOYMENT("0", "\"observedGeneration\": 2, \"replicas\": 1"), "[]", HEALTH_PROGRESS,
     "Pending", "Stopping", ""},
    {DEPLOYMENT("1", WHOLE), POD(REFUSED_BEFORE("\"waiting\": {\"reason\": \"CrashLoopBackOff\"}")),
     HEALTH_STALLED, "Stalled", "SlotMissing", "slot firn_shop is gone"},
    {DEPLOYMENT("1", WHOLE),
     POD("{\"name\": \"agent\", \"ready\": false, \"state\": {\"terminated\": {\"exitCode\": 3, "
         "\"message\": \"manifest.yaml:1: wrong\"}}}"),
     HEALTH_STALLED, "Stalled", "Refused", "manifest.yaml:1: wrong"},
    {DEPLOYMENT("1", WHOLE),
     POD("{\"name\": \"agent\", \"ready\": false, \"lastState\": {\"terminated\": {\"exitCode\": "
         "137, \"reason\": \"OOMKilled\"}}, \"state\": {\"running\": {}}}"),
     HEALTH_PROGRESS, "Pending", "OOMKilled", "spec.agent.resources"},
    {DEPLOYMENT("1", WHOLE),
     POD("{\"name\": \"maintain\", \"ready\": false, \"lastState\": {\"terminated\": "
         "{\"exitCode\": 137, \"reason\": \"OOMKilled\"}}, \"state\": {\"running\": {}}}"),
     HEALTH_PROGRESS, "Pending", "OOMKilled", "spec.agent.podTemplate"},
    {DEPLOYMENT("1", WHOLE),
     POD("{\"name\": \"agent\", \"ready\": false, \"state\": {\"waiting\": {\"reason\": "
         "\"ImagePullBackOff\", \"message\": \"Back-off pulling image x\"}}}"),
     HEALTH_STALLED, "Stalled", "ImagePullBackOff", "Back-off pulling image x"},
    {DEPLOYMENT("1", WHOLE),
     "[{\"metadata\": {}, \"status\": {\"conditions\": [{\"type\": \"PodScheduled\", \"status\": "
     "\"False\", \"reason\": \"Unschedulable\", \"message\": \"0/1 nodes\"}]}}]",
     HEALTH_PROGRESS, "Pending", "Unschedulable", "0/1 nodes"},
    {DEPLOYMENT("1", "\"observedGeneration\": 2, \"conditions\": [{\"type\": \"ReplicaFailure\", "
                     "\"status\": \"True\", \"message\": \"exceeded quota\"}]"),
     "[]", HEALTH_STALLED, "Stalled", "PodRefused", "exceeded quota"},
    /* one that is going says nothing of the next */
    {DEPLOYMENT("1", WHOLE),
     "[{\"metadata\": {\"deletionTimestamp\": \"x\"}, \"status\": {\"containerStatuses\": "
     "[{\"ready\": false, \"state\": {\"terminated\": {\"exitCode\": 3}}}]}}]",
     HEALTH_PROGRESS, "Pending", "Starting", ""},
};

static void pods_are_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        AUTO(json_free)
        json_t *deployment = seen[i].deployment ? parsed(seen[i].deployment) : NULL;
        AUTO(json_free) json_t *pods = parsed(seen[i].pods);
        int64_t again_s = -1;
        State is = state_of_pods(deployment, pods, NOW_S, &again_s);
        if (again_s || is.health != seen[i].health || strcmp(is.reason, seen[i].reason) != 0 ||
            strcmp(is.phase, seen[i].phase) != 0 || !strstr(is.message, seen[i].message))
            fail_msg("case %zu: %d %s %s: %s; again in %lld", i, (int)is.health, is.phase,
                     is.reason, is.message, (long long)again_s);
    }
}

static void refused_before(const char *since, const char *reason, int64_t again_s)
{
    AUTO(json_free) json_t *deployment = parsed(DEPLOYMENT("1", WHOLE));
    AUTO(mem_free)
    char *text = mem_format(POD(REFUSED_BEFORE("\"running\": {\"startedAt\": \"%s\"}")), since);
    AUTO(json_free) json_t *pods = parsed(text);
    int64_t is_again_s = -1;
    State is = state_of_pods(deployment, pods, NOW_S, &is_again_s);
    assert_string_equal(is.reason, reason);
    assert_int_equal(is_again_s, again_s);
}

static void what_runs_has_left_its_last_end_behind(void **state)
{
    (void)state;
    refused_before("1970-01-01T00:33:00Z", "SlotMissing", 10); /* it is tried anew */
    refused_before("1970-01-01T00:32:50Z", "Starting", 0);     /* it was mended, and copies */
    refused_before("1969-11-01T00:00:00Z", "Starting", 0);     /* the server is away */
    refused_before("1970-01-01T00:34:00Z", "SlotMissing", 30); /* a node's clock is ahead */
    refused_before("no time", "SlotMissing", 0);
}

static void a_message_is_utf8(void **state)
{
    (void)state;
    char text[600] = "";
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 3); /* 599 bytes hold the half of one */
    State cut = state_of(HEALTH_READY, "Streaming", "Streaming", "x%s", text);
    State log = state_of(HEALTH_READY, "Streaming", "Streaming", "caf\xe9 \xe2\x82\xac");
    AUTO(json_free) json_t *a = json_string(cut.message);
    assert_non_null(a);
    assert_int_equal(strlen(cut.message), 599);
    assert_string_equal(log.message, "caf? \xe2\x82\xac");
}

static json_t *lease_of(const char *holder, const char *version)
{
    return json_pack("{s{ss} s{ss si}}", "metadata", "resourceVersion", version, "spec",
                     "holderIdentity", holder, "leaseDurationSeconds", 10);
}

static void a_lease_is_taken_when_nobody_renews_it(void **state)
{
    (void)state;
    LeaseOptions me = {.identity = "me", .duration_us = 10000000};
    LeaseSeen memory = {0};
    AUTO(json_free) json_t *held = lease_of("you", "1");
    AUTO(json_free) json_t *renewed = lease_of("you", "2");
    AUTO(json_free) json_t *let_go = lease_of("", "3");
    AUTO(json_free) json_t *mine = lease_of("me", "4");
    assert_int_equal(lease_says(held, &me, &memory, 100), LEASE_HELD);
    assert_int_equal(lease_says(held, &me, &memory, 10000100), LEASE_HELD);
    assert_int_equal(lease_says(renewed, &me, &memory, 10000101), LEASE_HELD);
    assert_int_equal(lease_says(renewed, &me, &memory, 20000101), LEASE_HELD);
    assert_int_equal(lease_says(renewed, &me, &memory, 20000102), LEASE_FREE);
    assert_int_equal(lease_says(let_go, &me, &memory, 20000103), LEASE_FREE);
    assert_int_equal(lease_says(mine, &me, &memory, 20000104), LEASE_OURS);
}

/* --- what agents say themselves --- */

static Reported reported_in(const char *phase)
{
    Reported reported = {.known = true, .heard_s = 1000};
    channel_flow_clear(&reported.flow);
    snprintf(reported.flow.phase, sizeof reported.flow.phase, "%s", phase);
    return reported;
}

static void agents_have_the_last_word(void **state)
{
    (void)state;
    State well = state_of(HEALTH_READY, "Streaming", "Streaming", "it follows the source");
    State starts = state_of(HEALTH_PROGRESS, "Pending", "Starting", "0 of 1 Pods are ready");
    State rolls = state_of(HEALTH_PROGRESS, "Pending", "RollingOut", "%s", "");
    State stopped = state_of(HEALTH_READY, "Stopped", "Stopped", "%s", "");
    Reported nothing = {0}, streams = reported_in("Streaming"), behind = reported_in("CatchingUp");
    Reported copies = reported_in("Snapshotting"), retries = reported_in("Retrying");
    Reported silent = streams;
    State got = state_of_reported(&well, &nothing);
    assert_true(state_equals(&got, &well));
    got = state_of_reported(&well, &streams);
    assert_true(state_equals(&got, &well));
    got = state_of_reported(&well, &behind);
    assert_int_equal(got.health, HEALTH_READY);
    assert_string_equal(got.phase, "CatchingUp");
    copies.copied = 5;
    copies.to_copy = 10;
    got = state_of_reported(&starts, &copies);
    assert_string_equal(got.reason, "Copying");
    assert_string_equal(got.message, "5 of about 10 rows were copied");
    got = state_of_reported(&rolls, &copies); /* what it was before the change */
    assert_true(state_equals(&got, &rolls));
    snprintf(retries.flow.reason, sizeof retries.flow.reason, "ConnectionLost");
    retries.flow.error = mem_strdup("the server is away");
    got = state_of_reported(&well, &retries);
    assert_int_equal(got.health, HEALTH_PROGRESS);
    assert_string_equal(got.reason, "ConnectionLost");
    assert_non_null(strstr(got.message, "the server is away"));
    reported_done(&retries);
    /* never ready when nobody is heard */
    silent.silent = true;
    got = state_of_reported(&well, &silent);
    assert_int_equal(got.health, HEALTH_UNKNOWN);
    assert_string_equal(got.reason, "AgentSilent");
    assert_non_null(strstr(got.message, "heard last at 1970-01-01T00:16:40Z"));
    silent.heard_s = 0;
    got = state_of_reported(&well, &silent);
    assert_non_null(strstr(got.message, "has not been heard yet"));
    got = state_of_reported(&stopped, &silent);
    assert_true(state_equals(&got, &stopped));
}

static void is_said(const Condition *conditions, size_t at, const char *status, const char *reason)
{
    assert_non_null(conditions[at].type);
    assert_string_equal(conditions[at].status, status);
    assert_string_equal(conditions[at].reason, reason);
}

static void conditions_of_what_is_reported(void **state)
{
    (void)state;
    Condition is[4];
    Reported nothing = {0}, streams = reported_in("Streaming"), retries = reported_in("Retrying");
    channel_flow_clear(&nothing.flow);
    conditions_of_connector(&nothing, is);
    for (size_t i = 0; i < 3; i++)
        is_said(is, i, "Unknown", "NotReported");
    assert_null(is[3].type);
    streams.tables = 2;
    streams.flow.log_status = 1;
    conditions_of_connector(&streams, is);
    is_said(is, 0, "True", "Reachable");
    is_said(is, 1, "True", "Complete");
    is_said(is, 2, "True", "Enough");
    streams.copying = 1; /* a table that was added */
    streams.flow.log_headroom_s = 60;
    conditions_of_connector(&streams, is);
    is_said(is, 1, "False", "Copying");
    is_said(is, 2, "False", "LogShort");
    streams.flow.log_headroom_s = CHANNEL_NOT_SAID;
    streams.flow.log_headroom_bytes = 19;
    streams.flow.log_retained_bytes = 81;
    conditions_of_connector(&streams, is);
    is_said(is, 2, "False", "LogShort");
    streams.flow.log_retained_bytes = 19;
    conditions_of_connector(&streams, is);
    is_said(is, 2, "True", "Enough");
    streams.flow.log_status = 3;
    conditions_of_connector(&streams, is);
    is_said(is, 2, "False", "LogAtRisk");
    streams.flow.log_status = 4;
    conditions_of_connector(&streams, is);
    is_said(is, 2, "False", "LogLost");
    streams.silent = true;
    conditions_of_connector(&streams, is);
    for (size_t i = 0; i < 3; i++)
        is_said(is, i, "Unknown", "AgentSilent");
    snprintf(retries.flow.reason, sizeof retries.flow.reason, "HostUnreachable");
    conditions_of_connector(&retries, is);
    is_said(is, 0, "False", "HostUnreachable");
    snprintf(retries.flow.reason, sizeof retries.flow.reason, "StoreFailed"); /* not the source */
    conditions_of_connector(&retries, is);
    is_said(is, 0, "Unknown", "NotReported");

    Reported unit = reported_in("Streaming");
    unit.flow.freshness_ms = 60000;
    conditions_of_unit(&unit, 0, false, is);
    is_said(is, 0, "Unknown", "NoPromise");
    is_said(is, 1, "Unknown", "NotReported");
    conditions_of_unit(&unit, 60000, false, is);
    is_said(is, 0, "True", "InTime");
    unit.flow.dead_letters = 0;
    conditions_of_unit(&unit, 59999, false, is);
    is_said(is, 0, "False", "Late");
    is_said(is, 1, "False", "None");
    unit.flow.dead_letters = 1;
    conditions_of_unit(&unit, 59999, false, is);
    is_said(is, 1, "True", "Some");
    assert_null(is[2].type);
    conditions_of_unit(&unit, 0, true, is);
    is_said(is, 2, "Unknown", "NotReported");
    static const char *const retentions[][2] = {{"True", "Kept"},
                                                {"False", "CommitsHurried"},
                                                {"False", "RetentionLimited"},
                                                {"False", "RetentionShort"}};
    for (size_t i = 0; i < ARRAY_LEN(retentions); i++) {
        unit.flow.retention_status = (int64_t)i + 1;
        conditions_of_unit(&unit, 0, true, is);
        is_said(is, 2, retentions[i][0], retentions[i][1]);
    }
    unit.silent = true;
    conditions_of_unit(&unit, 0, true, is);
    is_said(is, 2, "Unknown", "AgentSilent");
    conditions_of_unit(&unit, 59999, false, is);
    is_said(is, 0, "Unknown", "AgentSilent");
    is_said(is, 1, "Unknown", "AgentSilent");
    assert_null(is[2].type);
}

static void conditions_of_a_table(void **state)
{
    (void)state;
    Condition is[3];
    Reported nothing = {0}, streams = reported_in("Streaming"), retries = reported_in("Retrying");
    channel_flow_clear(&nothing.flow);
    AUTO(json_free)
    json_t *ready = json_pack("{ss ss}", "reason", "SchemaIncompatible", "message", "column v");
    AUTO(json_free) json_t *other = json_pack("{ss ss}", "reason", "SlotLost", "message", "gone");
    conditions_of_table(&nothing, NULL, false, CHANNEL_NOT_SAID, is);
    is_said(is, 0, "Unknown", "NotReported");
    is_said(is, 1, "Unknown", "NotReported");
    assert_null(is[2].type);
    conditions_of_table(&streams, other, true, 1, is);
    is_said(is, 0, "True", "InSync");
    is_said(is, 1, "True", "ByCommits");
    conditions_of_table(&streams, NULL, true, 2, is);
    is_said(is, 1, "False", "NotAllowed");
    conditions_of_table(&streams, NULL, true, 3, is);
    is_said(is, 1, "False", "OrphansStay");
    conditions_of_table(&streams, NULL, true, 0, is); /* nothing was committed yet */
    is_said(is, 1, "Unknown", "NotReported");
    conditions_of_table(&nothing, ready, true, 1, is); /* its process has ended */
    is_said(is, 0, "False", "SchemaIncompatible");
    assert_string_equal(is[0].message, "column v");
    is_said(is, 1, "Unknown", "NotReported");
    conditions_of_table(&nothing, ready, false, 1, is); /* it filled other tables, too */
    is_said(is, 0, "Unknown", "SchemaIncompatible");
    conditions_of_table(&nothing, other, true, 1, is);
    is_said(is, 0, "Unknown", "NotReported");
    snprintf(retries.flow.reason, sizeof retries.flow.reason, "ColumnsPending");
    conditions_of_table(&retries, other, true, 1, is);
    is_said(is, 0, "False", "ColumnsPending");
    snprintf(retries.flow.reason, sizeof retries.flow.reason, "StoreFailed");
    conditions_of_table(&retries, other, true, 1, is);
    is_said(is, 0, "Unknown", "NotReported");
    is_said(is, 1, "True", "ByCommits");
    streams.silent = true;
    conditions_of_table(&streams, NULL, true, 1, is);
    is_said(is, 0, "Unknown", "AgentSilent");
    is_said(is, 1, "Unknown", "AgentSilent");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_follow_kstatus),
        cmocka_unit_test(a_new_generation_is_said),
        cmocka_unit_test(pods_are_understood),
        cmocka_unit_test(what_runs_has_left_its_last_end_behind),
        cmocka_unit_test(a_message_is_utf8),
        cmocka_unit_test(agents_have_the_last_word),
        cmocka_unit_test(conditions_of_what_is_reported),
        cmocka_unit_test(conditions_of_a_table),
        cmocka_unit_test(a_lease_is_taken_when_nobody_renews_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* links: firn_operator_status firn_operator_lease */
#include "tests/unit/unit.h"

#include <stdio.h>

#include "operator/lease/lease.h"
#include "operator/status/status.h"

static const char *const none[] = {NULL};
static const char *const some[] = {"Fresh", NULL};

static json_t *parsed(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    return value;
}

static const char *of(const json_t *object, const char *type, const char *field)
{
    const char *text = object_text(condition_of(object, type), field);
    assert_non_null(text);
    return text;
}

/* Writes the status as the server would; returns whether it was new. */
static bool write_status(json_t *object, State state, const char *const *others, int64_t now_s)
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
    {DEPLOYMENT("1", WHOLE),
     POD("{\"name\": \"agent\", \"ready\": false, \"state\": {\"waiting\": {\"reason\": "
         "\"CrashLoopBackOff\"}}, \"lastState\": {\"terminated\": {\"exitCode\": 3, \"message\": "
         "\"noise\\n{\\\"msg\\\":\\\"stopped\\\",\\\"reason\\\":\\\"SlotMissing\\\","
         "\\\"error\\\":\\\"slot firn_shop is gone\\\"}\\n\"}}}"),
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
        State is = state_of_pods(deployment, pods);
        if (is.health != seen[i].health || strcmp(is.reason, seen[i].reason) != 0 ||
            strcmp(is.phase, seen[i].phase) != 0 || !strstr(is.message, seen[i].message))
            fail_msg("case %zu: %d %s %s: %s", i, (int)is.health, is.phase, is.reason, is.message);
    }
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

static void figures_are_taken_out_of_metrics(void **state)
{
    (void)state;
    static const char text[] =
        "# HELP firn_phase 0 Pending, 1 Snapshotting\n"
        "# TYPE firn_phase gauge\n"
        "firn_phase{connector=\"retail/shop\"} 3\n"
        "firn_lag_bytes{connector=\"retail/shop\"} 4096\n"
        "firn_freshness_seconds{connector=\"retail/shop\"} 2.5\n"
        "firn_table_rows{table=\"public.orders\",unit=\"retail/orders\"} 17\n"
        "firn_table_rows{table=\"public.a\\\"b\\\\c\",unit=\"retail/odd\"} 1\n"
        "firn_table_rows{table=\"public.x\",unit=\"other/x\"} 5\n"
        "firn_table_rows{table=\"public.nan\",unit=\"retail/nan\"} NaN\n"
        "firn_table_rows{table=\"public.cut\",unit=\"retail/cut 4\n"
        "firn_table_copying{table=\"public.orders\",unit=\"retail/orders\"} 1\n"
        "firn_log_headroom_seconds{connector=\"retail/shop\"} +Inf\n"
        "nonsense\n"
        "firn_table_rows{table=\"public.last\",unit=\"retail/last\"} 9";
    AUTO(json_free) json_t *report = figures_of_metrics(text, sizeof text - 1, "retail");
    assert_int_equal(json_integer_value(json_object_get(report, "phase")), 3);
    assert_int_equal(json_integer_value(json_object_get(report, "lag")), 4096);
    assert_int_equal(json_integer_value(json_object_get(report, "freshness")), 2);
    const json_t *units = json_object_get(report, "units");
    assert_int_equal(json_object_size(units), 3);
    assert_int_equal(json_integer_value(object_at(units, "orders.rows")), 17);
    assert_int_equal(json_integer_value(object_at(units, "orders.copying")), 1);
    assert_string_equal(object_text(units, "odd.table"), "public.a\"b\\c");
    assert_int_equal(json_integer_value(object_at(units, "last.rows")), 9);
    AUTO(json_free) json_t *nothing = figures_of_metrics("", 0, "retail");
    assert_int_equal(json_object_size(json_object_get(nothing, "units")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_follow_kstatus),
        cmocka_unit_test(a_new_generation_is_said),
        cmocka_unit_test(pods_are_understood),
        cmocka_unit_test(figures_are_taken_out_of_metrics),
        cmocka_unit_test(a_lease_is_taken_when_nobody_renews_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "operator/lease/lease.h"

#include <stdio.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"

#define DURATION_US 10000000
#define RETRY_US 2000000
#define CALL_US 3000000

struct Lease {
    Api *api;
    LeaseOptions options;
    char *path, *collection;
    LeaseSeen seen;
    json_t *last;                   /* as the server has it */
    atomic_int_fast64_t renewed_us; /* 0: not ours */
};

Lease *lease_new(Api *api, const LeaseOptions *options)
{
    Lease *lease = mem_zalloc(sizeof *lease);
    lease->api = api;
    lease->options = *options;
    if (!lease->options.duration_us)
        lease->options.duration_us = DURATION_US;
    if (!lease->options.retry_us)
        lease->options.retry_us = RETRY_US;
    lease->collection =
        mem_format("/apis/coordination.k8s.io/v1/namespaces/%s/leases", options->namespace_name);
    lease->path = mem_format("%s/%s", lease->collection, options->name);
    return lease;
}

void lease_free(Lease *lease)
{
    if (!lease)
        return;
    json_decref(lease->last);
    free(lease->collection);
    free(lease->path);
    free(lease);
}

LeaseSays lease_says(const json_t *lease, const LeaseOptions *options, LeaseSeen *seen,
                     int64_t now_us)
{
    const char *holder = object_text(lease, "spec.holderIdentity");
    const char *version = object_version(lease);
    if (!version)
        version = "";
    if (strcmp(seen->version, version) != 0) {
        snprintf(seen->version, sizeof seen->version, "%s", version);
        seen->since_us = now_us;
    }
    if (!holder || !*holder)
        return LEASE_FREE;
    if (strcmp(holder, options->identity) == 0)
        return LEASE_OURS;
    int64_t said_s = json_integer_value(object_at(lease, "spec.leaseDurationSeconds"));
    int64_t duration_us = said_s > 0 && said_s < 3600 ? said_s * 1000000 : options->duration_us;
    return now_us - seen->since_us > duration_us ? LEASE_FREE : LEASE_HELD;
}

static json_t *spec_of(const Lease *lease, const json_t *before, const char *holder)
{
    char now[80], whole[32];
    struct timespec time;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &time);
    gmtime_r(&time.tv_sec, &parts);
    strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(now, sizeof now, "%s.%06ldZ", whole, time.tv_nsec / 1000);
    const char *was = object_text(before, "spec.holderIdentity");
    bool same = was && strcmp(was, holder) == 0;
    json_int_t moves = json_integer_value(object_at(before, "spec.leaseTransitions"));
    json_t *acquired = same ? object_at(before, "spec.acquireTime") : NULL;
    return json_pack("{ss sI so ss sI}", "holderIdentity", holder, "leaseDurationSeconds",
                     (json_int_t)(lease->options.duration_us / 1000000), "acquireTime",
                     acquired ? json_incref(acquired) : json_string(now), "renewTime", now,
                     "leaseTransitions", moves + !same);
}

static bool write_holder(Lease *lease, Api *api, const char *holder, Error *err)
{
    json_t *spec = spec_of(lease, lease->last, holder);
    AUTO(json_free)
    json_t *body = json_pack("{ss ss s{ss ss} so}", "apiVersion", "coordination.k8s.io/v1", "kind",
                             "Lease", "metadata", "name", lease->options.name, "namespace",
                             lease->options.namespace_name, "spec", spec);
    if (lease->last)
        json_object_set_new(json_object_get(body, "metadata"), "resourceVersion",
                            json_string(object_version(lease->last)));
    ApiRequest request = {.method = lease->last ? "PUT" : "POST",
                          .path = lease->last ? lease->path : lease->collection,
                          .body = body,
                          .unguarded = true,
                          .timeout_us = CALL_US};
    int64_t asked_us = clock_mono_us();
    json_t *answer;
    if (!api_call(api, &request, &answer, err))
        return false;
    json_decref(lease->last);
    lease->last = answer;
    /* From when it was sent: that is the latest the others count from. */
    atomic_store(&lease->renewed_us, *holder ? asked_us : 0);
    return true;
}

/* *ret: what it says now. */
static bool look(Lease *lease, LeaseSays *ret, Error *err)
{
    json_t *answer;
    Error own = {0};
    ApiRequest request = {.method = "GET", .path = lease->path, .timeout_us = CALL_US};
    bool ok = api_call(lease->api, &request, &answer, &own);
    json_decref(lease->last);
    lease->last = ok ? answer : NULL;
    if (!ok && strcmp(own.code, "NotFound") == 0) {
        *ret = LEASE_FREE;
        return true;
    }
    if (!ok) {
        *err = own;
        return false;
    }
    *ret = lease_says(answer, &lease->options, &lease->seen, clock_mono_us());
    return true;
}

bool lease_acquire(Lease *lease)
{
    bool waits = false;
    while (!api_stopping(lease->api)) {
        Error err = {0};
        LeaseSays says = LEASE_HELD;
        bool ok = look(lease, &says, &err);
        if (ok && says != LEASE_HELD &&
            write_holder(lease, lease->api, lease->options.identity, &err))
            return true;
        if (err.kind != ERROR_NONE && err.kind != ERROR_CONFLICT && !api_stopping(lease->api))
            log_warn("the lease can't be taken", LOG_T("reason", err.code),
                     LOG_T("error", err.message));
        if (ok && says == LEASE_HELD && !waits)
            log_info("waiting for the lease",
                     LOG_T("holder", object_text(lease->last, "spec.holderIdentity")));
        waits |= ok && says == LEASE_HELD;
        (void)api_sleep(lease->api, lease->options.retry_us);
    }
    return false;
}

bool lease_is_ours(const Lease *lease)
{
    int64_t renewed_us = atomic_load(&lease->renewed_us);
    return renewed_us &&
           clock_mono_us() - renewed_us < lease->options.duration_us - lease->options.retry_us;
}

bool lease_keep(Lease *lease)
{
    bool told = false;
    while (api_sleep(lease->api, lease->options.retry_us)) {
        Error err = {0};
        LeaseSays says = LEASE_OURS;
        bool ok = write_holder(lease, lease->api, lease->options.identity, &err);
        /* Somebody wrote it, perhaps we ourselves in a request whose answer was lost. */
        if (!ok && err.kind == ERROR_CONFLICT && look(lease, &says, &err) && says == LEASE_HELD)
            return false;
        /* While nobody answers, nothing is written (lease_is_ours); a write that is taken later,
         * with the version that was ours, says that nobody else had it in between. */
        if (!ok && !told && !lease_is_ours(lease) && !api_stopping(lease->api))
            log_warn("the lease can't be renewed: nothing is written until it is",
                     LOG_T("reason", err.code), LOG_T("error", err.message));
        if (ok && told)
            log_info("the lease is renewed");
        told = !ok && (told || !lease_is_ours(lease));
    }
    return true;
}

void lease_release(Lease *lease, Api *api)
{
    Error err = {0};
    lease->api = api;
    LeaseSays says;
    if (look(lease, &says, &err) && says == LEASE_OURS && lease->last &&
        !write_holder(lease, api, "", &err))
        log_debug("the lease was not released", LOG_T("error", err.message));
    atomic_store(&lease->renewed_us, 0);
}

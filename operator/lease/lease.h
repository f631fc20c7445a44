/* Who of several operators works: the holder of a Lease. It is taken when nobody holds it, or when
 * its holder has not renewed it for its whole duration by our own clock; it is written with the
 * version that was read, so that of two one wins. Whoever could not renew for the duration less
 * `retry_us` counts as having lost it, before anybody else may take it: in what is left, writes
 * that are under way are broken off (api_guard looks each second).
 * https://kubernetes.io/docs/concepts/architecture/leases */
#pragma once

#include "operator/api/api.h"

typedef struct LeaseOptions {
    const char *namespace_name, *name;
    const char *identity;
    int64_t duration_us; /* whole seconds; 0: 10 s */
    int64_t retry_us;    /* 0: 2 s */
} LeaseOptions;

/* Pure: what a Lease that was read means. */
typedef enum LeaseSays { LEASE_OURS, LEASE_FREE, LEASE_HELD } LeaseSays;
typedef struct LeaseSeen {
    char version[64]; /* of the spec that was last seen to change */
    int64_t since_us; /* our clock */
} LeaseSeen;
LeaseSays lease_says(const json_t *lease, const LeaseOptions *options, LeaseSeen *seen,
                     int64_t now_us);

typedef struct Lease Lease;
void lease_free(Lease *lease);
Lease *lease_new(Api *api, const LeaseOptions *options) OWNED_BY(lease_free);
/* Blocks until it is ours; false: stopped. */
bool lease_acquire(Lease *lease);
/* Renews until somebody else has it (false) or it is stopped (true); while the API server does not
 * answer, it is not ours, and again afterwards if nobody took it. For a thread of its own. */
bool lease_keep(Lease *lease);
/* From any thread: may something be written now, or go on being written? */
bool lease_is_ours(const Lease *lease);
/* So that the next need not wait. A new Api, for the old one is stopped. */
void lease_release(Lease *lease, Api *api);

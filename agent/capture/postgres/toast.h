/* Values that an update left out because they are large and unchanged, fetched from the source. */
#pragma once

#include "agent/capture/postgres/postgres.h"

typedef struct Toast {
    Postgres *postgres;
    PGresult *latest; /* holds what the latest fetch handed out */
    uint64_t reads;   /* queries made */
} Toast;

void toast_done(Toast *toast);
/* A PgoutputFetch; context is the Toast. */
MUST_CHECK bool toast_fetch(void *context, const PgTable *table, PgValue *values,
                            const uint32_t *fields, size_t count, bool *ret_found, Error *err);

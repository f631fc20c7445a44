/* See transactions.h. The log's numbers of transactions are the low halves of the server's. */
#include "agent/capture/postgres/transactions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/capture/postgres/connect.h"
#include "common/clock.h"
#include "common/mem.h"

#define SEEN_WAIT_US INT64_C(60000000) /* a synchronous standby that is gone can take long */
#define SEEN_PAUSE_US 2000

/* "xmin:xmax:xip,…", of 64 bits each; the log's numbers are their low halves. */
bool snapshot_sees(const char *snapshot, uint32_t xid)
{
    char *at;
    (void)strtoull(snapshot, &at, 10);
    if (*at != ':')
        return false;
    uint32_t end = (uint32_t)strtoull(at + 1, &at, 10);
    if ((int32_t)(xid - end) >= 0)
        return false;
    while (*at == ':' || *at == ',')
        if ((uint32_t)strtoull(at + 1, &at, 10) == xid)
            return false;
    return true;
}

bool transactions_seen(Postgres *postgres, const uint32_t *xids, size_t count, Error *err)
{
    int64_t until_us = clock_mono_us() + SEEN_WAIT_US;
    for (;;) {
        AUTO(mem_free)
        char *snapshot =
            connect_value(postgres->query, "SELECT pg_catalog.pg_current_snapshot()", err);
        if (!snapshot)
            return false;
        bool sees = true;
        for (size_t i = 0; i < count && sees; i++)
            sees = snapshot_sees(snapshot, xids[i]);
        if (sees)
            return true;
        if (clock_mono_us() > until_us)
            return error_set(err, ERROR_RETRY, "NotVisible",
                             "the log has a transaction that the server does not show yet; does it "
                             "wait for a synchronous standby?");
        clock_sleep_us(SEEN_PAUSE_US);
    }
}

/* ---------- rolled back ---------- */
#define ASKED_AT_ONCE 10000

/* The whole number of each is the one next to the snapshot's end. The status of those that a slot
 * still needs is never forgotten: they are younger than its catalog_xmin.
 * https://www.postgresql.org/docs/15/functions-info.html#FUNCTIONS-PG-SNAPSHOT */
static const char undone_sql[] =
    "SELECT EXISTS (SELECT FROM pg_catalog.unnest($1::pg_catalog.int8[]) AS u (x), "
    "(SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8 AS e) AS s "
    "WHERE pg_catalog.pg_xact_status((s.e + 2147483648 - ((s.e + 2147483648 - u.x) & 4294967295))"
    "::text::pg_catalog.xid8) = 'aborted')";

static bool any_undone(Postgres *postgres, const uint32_t *subxids, size_t count, bool *ret,
                       Error *err)
{
    AUTO(text_done) Bytes text = {0};
    char number[16];
    for (size_t i = 0; i < count; i++)
        bytes_put(&text, number,
                  (size_t)snprintf(number, sizeof number, "%c%" PRIu32, i ? ',' : '{', subxids[i]));
    bytes_put(&text, "}", sizeof "}");
    const char *values[] = {(const char *)text.data};
    AUTO(result_clear)
    PGresult *result =
        connect_query_with(postgres->query, PGRES_TUPLES_OK, undone_sql, 1, values, err);
    if (!result)
        return error_wrap(err, "asking for the status of a transaction's parts");
    *ret = PQgetvalue(result, 0, 0)[0] == 't';
    return true;
}

bool transactions_undone(void *context, const uint32_t *subxids, size_t count, bool *ret_undone,
                         Error *err)
{
    Postgres *postgres = context;
    *ret_undone = false;
    if (!postgres_query_open(postgres, err))
        return false;
    for (size_t i = 0; i < count && !*ret_undone; i += ASKED_AT_ONCE) {
        size_t left = count - i;
        if (!any_undone(postgres, subxids + i, left < ASKED_AT_ONCE ? left : ASKED_AT_ONCE,
                        ret_undone, err))
            return false;
    }
    return true;
}

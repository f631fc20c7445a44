/* Which transactions a server has, or we have read: GTID sets of MySQL and of MariaDB.
 *
 *   MySQL    "uuid[:tag]:1-7:9,uuid:…": for each source (a server's uuid, from 8.3 on with a tag)
 *            intervals of numbers.
 * https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html MariaDB
 * "domain-server-sequence,…": for each domain only the latest, numbers grow in a domain.
 *            https://mariadb.com/kb/en/gtid/
 *
 * A set has one canonical text: sources in order, intervals joined. Empty is "". Pure. */
#pragma once

#include <stdlib.h>

#include "common/attrs.h"
#include "common/error.h"

#define GTID_TAG_BYTES 33   /* 32 letters at most, and NUL */
#define GTID_TEXT_BYTES 128 /* of one */
#define GTID_NUMBER_MAX ((uint64_t)INT64_MAX - 1)

typedef struct Gtid {
    bool mariadb;
    uint8_t uuid[16];         /* MySQL */
    char tag[GTID_TAG_BYTES]; /* MySQL; "": none */
    uint32_t domain, server;  /* MariaDB */
    uint64_t number;          /* from 1; MariaDB: the sequence */
} Gtid;

typedef struct GtidInterval {
    uint64_t from, to; /* both in it */
} GtidInterval;

typedef struct GtidSource {
    Gtid id;                 /* MySQL: without its number; MariaDB: the domain's latest */
    GtidInterval *intervals; /* MySQL: in order, neither overlapping nor touching */
    size_t count, held;
} GtidSource;

typedef struct GtidSet {
    bool mariadb;
    GtidSource *sources; /* in order */
    size_t count, held;
} GtidSet;

void gtid_set_done(GtidSet *set);
GtidSet gtid_set_new(bool mariadb);
/* Letters, digits and "_", the first no digit; capitals become small ones. No bytes: no tag. */
MUST_CHECK bool gtid_set_tag(Gtid *gtid, const void *tag, size_t bytes);
/* DATA "BadGtid" names the text. *ret is the caller's to end, on false too. */
MUST_CHECK bool gtid_set_parse(const char *text, bool mariadb, GtidSet *ret, Error *err);
char *gtid_set_format(const GtidSet *set) OWNED_BY(free);
GtidSet gtid_set_copy(const GtidSet *set);

/* False when the set had it already (MariaDB: one of its domain that is not older). */
bool gtid_set_add(GtidSet *set, const Gtid *gtid);
void gtid_set_add_interval(GtidSet *set, const Gtid *source, GtidInterval interval);
void gtid_set_join(GtidSet *set, const GtidSet *more); /* of the same kind */
bool gtid_set_has(const GtidSet *set, const Gtid *gtid);
/* Is everything of `part` in `set`? Asked of a server before it is followed: whether it has what we
 * have (part: ours), and whether it has not yet purged what we lack (part: its purged ones). */
bool gtid_set_contains(const GtidSet *set, const GtidSet *part);
bool gtid_set_equal(const GtidSet *a, const GtidSet *b);
/* Returns ret. */
char *gtid_format(const Gtid *gtid, char ret[GTID_TEXT_BYTES]);

static inline void gtid_set_done_auto(GtidSet *at)
{
    gtid_set_done(at);
}

/* Which column of a table is which in a Relation message. The log gives names and order, not
 * PostgreSQL's numbers (attnum); the catalog gives numbers, but as of now, which may be ahead of
 * the log by any number of ALTERs. What is certain all the same:
 *
 *   - a message lists the columns that were there in the order of their numbers;
 *   - numbers are never given twice, so a column that is there now and was there before was there
 *     in between, and one that came is younger than all that were there;
 *   - of two columns that came and are both there now, the one with the lower number came first.
 *
 * Mostly that leaves one way. Where it leaves several, that one is taken in which every column is
 * called what it was called before or is called now, if the transactions' numbers bear it out: a
 * column whose drop has a lower number than the transaction of the row is not there, one whose drop
 * has a higher number still is, one that came with a lower number is. Of the second kind only such
 * count as are of a new one's type, for a subtransaction's number is higher than its own. (A column
 * that was renamed, dropped, and followed by another of that name would pass for the other by its
 * name alone.) Where that is not one, nobody can tell; nor where a column that came and went
 * meanwhile, whose name nobody knows, may have had it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct MatchColumn {
    int32_t number;
    const char *before; /* its name in the columns known last; NULL: it was not among them */
    const char *now;    /* its name in the catalog; NULL: it is dropped */
    uint32_t type;      /* of the column known last: its oid */
    int since;          /* the transaction that wrote the row came 1 after, -1 before the one that
                         * changed this column in the catalog last; 0: it was that one, or unknown */
    uint32_t layout;    /* of one that came and went: its values' (PgType); 0: not known */
} MatchColumn;

typedef enum MatchResult { MATCH_ONE, MATCH_NONE, MATCH_SEVERAL } MatchResult;

/* types: the names' types' oids. columns: by number; of those that were not there before only such
 * as are younger than all that were. ret_place[i], for MATCH_ONE: index in columns of names[i]. */
MatchResult match_columns(const MatchColumn *columns, size_t column_count, const char *const *names,
                          const uint32_t *types, size_t name_count, uint32_t *ret_place);
/* The same where names never change: each is what its column is called, or the name of one that
 * came and went and whose values are laid out as the name's (layouts, 0: not known). */
MatchResult match_exactly(const MatchColumn *columns, size_t column_count, const char *const *names,
                          const uint32_t *layouts, size_t name_count, uint32_t *ret_place);

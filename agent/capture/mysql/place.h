/* Where in the binlog: as agent/record/position.h has one lane, (major, minor).
 *
 * major is a place, the number of a binlog file (its name's end: 42 of "mysql-bin.000042") above
 * the offset in it. Files follow each other by number and a transaction never spans two, so places
 * of one server are in the log's order; other servers number otherwise, hence the server's uuid in
 * the source's name: a position never compares with another server's.
 *   minor > 0: major is where a transaction begins, its rows up to `minor` are in: above 24 bits
 *   for the number of a row in its event, where that event begins in the transaction;
 *   minor = 0: every transaction that begins before major is in.
 * A transaction's end is the next one's beginning, or before it: so these compare as plain pairs.
 *
 * Whoever passes rows on with their places (topics, whose readers drop what does not come behind
 * what they have) needs those of the next server behind those of the one before: there the numbers
 * of files are shifted by so much, and the source's name says by how much.
 *
 * The offset is wider than the 32 bits of an event's header: a transaction may be larger than 4 GiB
 * and the header's number then wraps, so what is past it is counted by the order of events. */
#pragma once

#include "agent/record/origin.h"

#define PLACE_FILE_MAX ((UINT64_C(1) << (64 - PLACE_OFFSET_BITS)) - 1)
#define PLACE_FIRST_OFFSET 4 /* behind a file's magic number */
#define PLACE_NAME_BYTES 512 /* the server's own limit of a file's name */

static inline uint64_t place_of(uint64_t file, uint64_t offset)
{
    ASSERT(file <= PLACE_FILE_MAX && offset >> PLACE_OFFSET_BITS == 0);
    return file << PLACE_OFFSET_BITS | offset;
}
static inline uint64_t place_file(uint64_t place)
{
    return place >> PLACE_OFFSET_BITS;
}
static inline uint64_t place_offset(uint64_t place)
{
    return place & ((UINT64_C(1) << PLACE_OFFSET_BITS) - 1);
}

/* Where an event ends whose header says `end`, which is modulo 2^32, behind one that ended at
 * `offset`. */
static inline uint64_t place_offset_after(uint64_t offset, uint32_t end)
{
    uint64_t after = (offset & ~(uint64_t)UINT32_MAX) | end;
    if (after >= offset)
        return after;
    return offset - after < UINT64_C(1) << 31 ? offset : after + (UINT64_C(1) << 32);
}

/* The number of a file, and how many bytes its base is long ("mysql-bin." of 10). DATA "BadPlace"
 * when the name does not end in a number, or in one that is too large. */
MUST_CHECK bool place_parse_file(const char *name, size_t name_bytes, uint64_t *ret,
                                 size_t *ret_base_bytes, Error *err);
/* A file's name: at least six digits. False when it is longer than fits. */
MUST_CHECK bool place_format_file(const char *base, uint64_t file, char ret[PLACE_NAME_BYTES]);

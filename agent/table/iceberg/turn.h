/* <location>/metadata/maintained.json, which the processes that maintain a table write over each
 * other's, and read:
 *
 *   {"begun-ms", "done-ms", "files", "bytes", "failed"}
 *       when it was begun, and done last, and what was removed; the code of the error since then
 *
 * Who wrote begun-ms works. It is no lock: two that work at once do no harm, and whoever dies is
 * made up for a day later. What can't be read counts as never. Who commits reads whether it failed,
 * for it is he who tells the operator of the table. */
#pragma once

#include "agent/store/store.h"

#define TURN_FILE "maintained.json"

typedef struct Turn {
    int64_t begun_ms, done_ms; /* 0: never */
    uint64_t files, bytes;
    char failed[40]; /* "": it did not */
    StoreTag tag;
} Turn;

/* uri: the table's location with /metadata/ and TURN_FILE. */
MUST_CHECK bool turn_read(Store *store, const char *uri, Turn *ret, Error *err);
/* CONFLICT: somebody else wrote since it was read. */
MUST_CHECK bool turn_write(Store *store, const char *uri, Turn *turn, Error *err);

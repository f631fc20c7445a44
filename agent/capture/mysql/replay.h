/* What a transaction of XA has prepared, read from the log once more when it is committed (xa.h): a
 * session beside the stream's. Where it is not known where that stands, the agent having started
 * since, the files are searched, from the newest on. */
#pragma once

#include "agent/capture/mysql/mysql.h"

typedef struct MyReplay MyReplay;
void my_replay_free(MyReplay *replay); /* NULL is fine */
/* From `place` on (0: searched for, before `before`). CONFIG "LogPurged": it is in no file. */
MyReplay *my_replay_new(Mysql *mysql, const char *xid, uint64_t place, uint64_t before, Error *err)
    OWNED_BY(my_replay_free);
/* The next event; it lasts until the next call. */
MUST_CHECK bool my_replay_next(MyReplay *replay, const uint8_t **ret, size_t *ret_bytes,
                               Error *err);

DEFINE_AUTO(MyReplay, my_replay_free);

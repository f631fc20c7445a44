/* When a stream hands out what it has gathered, with a checkpoint (capture_next): 200 ms after the
 * first of it, so that a busy source makes large batches, or as soon as the source has been silent
 * for 20 ms, so that a quiet one is fresh; and a second after a beat, when only other tables' log
 * passes by. Pure: the caller tells the time. */
#pragma once

#include <stdint.h>

#include "common/attrs.h"

typedef struct Linger {
    int64_t first_us; /* when the first data since the last checkpoint came; 0: none */
    int64_t beat_us;  /* likewise the first beat */
    int64_t data_us;  /* when data came last */
    int64_t linger_us, idle_us, beat_linger_us;
} Linger;

/* linger_us: 0: the usual. */
void linger_init(Linger *linger, int64_t linger_us);

/* Something came that may hold changes; the server said no more than how far its log is. */
static inline void linger_data(Linger *linger, int64_t now_us)
{
    if (!linger->first_us)
        linger->first_us = now_us;
    linger->data_us = now_us;
}
static inline void linger_beat(Linger *linger, int64_t now_us)
{
    if (!linger->beat_us)
        linger->beat_us = now_us;
}
/* Is it time to hand out what has gathered, at the next end of a transaction? */
bool linger_due(const Linger *linger, int64_t now_us);
/* It was handed out. */
void linger_done(Linger *linger);
/* For how long nothing needs to be done unless bytes come; gathered: a checkpoint could be made. */
int linger_wait_ms(const Linger *linger, bool gathered, int64_t until_us, int64_t now_us);

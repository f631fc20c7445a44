/* For how long the server keeps the log that we need yet. It removes a file when it was written to
 * last longer ago than a time that is set (binlog_expire_logs_seconds), whoever reads it; so what
 * counts is how old the first transaction is that is not durable downstream. Pure. */
#pragma once

#include "agent/capture/capture.h"

#define HEADROOM_MARKS 64
#define HEADROOM_SAMPLES 32

/* A checkpoint that was handed out, and when the first transaction behind the one before it was
 * committed. */
typedef struct HeadroomMark {
    uint64_t place;
    int64_t oldest_us;
} HeadroomMark;

typedef struct HeadroomSample {
    int64_t at_us;
    uint64_t retained;
} HeadroomSample;

typedef struct Headroom {
    HeadroomMark marks[HEADROOM_MARKS]; /* in order; not confirmed yet */
    size_t count;
    int64_t expire_us; /* as the server is set; 0: it keeps all */
    HeadroomSample samples[HEADROOM_SAMPLES];
    size_t sample_count; /* ever */
} Headroom;

/* oldest_us 0: nothing was committed. */
void headroom_mark(Headroom *headroom, uint64_t place, int64_t oldest_us);
void headroom_confirmed(Headroom *headroom, uint64_t place);
/* there: the server still has the file of what is durable. retained: bytes behind that place. */
LogHeadroom headroom_now(Headroom *headroom, int64_t now_us, uint64_t retained, bool there);

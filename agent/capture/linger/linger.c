#include "agent/capture/linger/linger.h"

#include "common/clock.h"

#define LINGER_US INT64_C(200000)
#define IDLE_US INT64_C(20000)
#define BEAT_LINGER_US INT64_C(1000000)

void linger_init(Linger *linger, int64_t linger_us)
{
    *linger = (Linger){.linger_us = linger_us ? linger_us : LINGER_US,
                       .beat_linger_us = clock_asked_us("FIRN_CONFIRM_MS", BEAT_LINGER_US)};
    linger->idle_us = linger->linger_us < IDLE_US ? linger->linger_us : IDLE_US;
}

bool linger_due(const Linger *linger, int64_t now_us)
{
    if (linger->first_us)
        return now_us - linger->first_us >= linger->linger_us ||
               now_us - linger->data_us >= linger->idle_us;
    return linger->beat_us && now_us - linger->beat_us >= linger->beat_linger_us;
}

void linger_done(Linger *linger)
{
    linger->first_us = linger->beat_us = 0;
}

int linger_wait_ms(const Linger *linger, bool gathered, int64_t until_us, int64_t now_us)
{
    if (gathered) {
        int64_t due_us = linger->first_us ? linger->data_us + linger->idle_us
                                          : linger->beat_us + linger->beat_linger_us;
        until_us = due_us < until_us ? due_us : until_us;
    }
    int64_t left_us = until_us - now_us;
    return left_us <= 0 ? 0 : (int)((left_us + 999) / 1000);
}

/* See headroom.h. */
#include "agent/capture/mysql/headroom.h"

#include <math.h>
#include <string.h>

void headroom_mark(Headroom *headroom, uint64_t place, int64_t oldest_us)
{
    HeadroomMark *last = headroom->count ? &headroom->marks[headroom->count - 1] : NULL;
    if (!oldest_us || (last && last->place >= place))
        return;
    if (headroom->count == HEADROOM_MARKS) {
        last->place = place; /* as if it were as old as the one before */
        return;
    }
    headroom->marks[headroom->count++] = (HeadroomMark){place, oldest_us};
}

void headroom_confirmed(Headroom *headroom, uint64_t place)
{
    size_t done = 0;
    while (done < headroom->count && headroom->marks[done].place <= place)
        done++;
    headroom->count -= done;
    memmove(headroom->marks, headroom->marks + done, headroom->count * sizeof *headroom->marks);
}

/* Of what is needed next; 0: nothing is. */
static int64_t age_us(const Headroom *headroom, int64_t now_us)
{
    if (!headroom->count || now_us <= headroom->marks[0].oldest_us)
        return 0;
    return now_us - headroom->marks[0].oldest_us;
}

static double growth(Headroom *headroom, int64_t now_us, uint64_t retained, double *ret_seconds)
{
    headroom->samples[headroom->sample_count++ % HEADROOM_SAMPLES] =
        (HeadroomSample){now_us, retained};
    size_t held =
        headroom->sample_count < HEADROOM_SAMPLES ? headroom->sample_count : HEADROOM_SAMPLES;
    const HeadroomSample *oldest =
        &headroom->samples[(headroom->sample_count - held) % HEADROOM_SAMPLES];
    *ret_seconds = (double)(now_us - oldest->at_us) / 1e6;
    return *ret_seconds > 0 && retained > oldest->retained
               ? (double)(retained - oldest->retained) / *ret_seconds
               : 0;
}

LogHeadroom headroom_now(Headroom *headroom, int64_t now_us, uint64_t retained, bool there)
{
    LogHeadroom now = {.status = LOG_RESERVED, .retained_bytes = retained, .seconds = INFINITY};
    now.growth = growth(headroom, now_us, retained, &now.over_seconds);
    int64_t age = age_us(headroom, now_us), left = headroom->expire_us - age;
    now.limited = headroom->expire_us > 0;
    if (now.limited) {
        now.seconds = left > 0 ? (double)left / 1e6 : 0;
        /* As much as was written in its age, for each such time that is left. */
        double bytes = age > 0 ? (double)retained * (now.seconds * 1e6 / (double)age) : INFINITY;
        now.headroom_bytes = bytes < 9e18 ? (int64_t)bytes : INT64_MAX;
        /* A reader that keeps up is not short of time, however little of it the server gives. */
        now.over_seconds = (double)age / 1e6;
    }
    if (!there || (now.limited && left <= 0))
        now.status = LOG_UNRESERVED;
    return now;
}

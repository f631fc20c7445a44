/* Time, in units last: wall clock in microseconds since 1970, and a monotonic clock for intervals.
 */
#pragma once

#include <time.h>

#include "common/attrs.h"

int64_t clock_wall_us(void);
int64_t clock_mono_us(void);
/* The moment timeout_ms from now, for a condition that waits by the monotonic clock. */
struct timespec clock_mono_in(int timeout_ms);
void clock_sleep_us(int64_t us);
/* How long something takes: tests' builds (those with crash points) ask that variable first, in
 * milliseconds. */
int64_t clock_asked_us(const char *variable, int64_t usual_us);

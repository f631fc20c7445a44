/* Named points at which a test may have the process killed, to prove that nothing is lost or
 * doubled. Only in builds with FIRN_CRASH_POINTS (presets debug, asan, tsan); elsewhere they are
 * nothing.
 *
 * FIRN_CRASH_AT=NAME[:N] kills the process with SIGKILL when it passes NAME for the N-th time
 * (default 1), after one line "crash point NAME struck" on stderr, so that the test can tell that
 * it did. The points stand in tests/integration/crash_points, which a lint compares with the code.
 */
#pragma once

#ifdef FIRN_CRASH_POINTS
void crash_point(const char *name);
#define CRASH_POINT(name) crash_point(name)
#else
#define CRASH_POINT(name) ((void)0)
#endif

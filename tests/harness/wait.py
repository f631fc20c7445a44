"""Waiting for a condition, never for a time: every wait has a limit and says what it waited for."""

import time

POLL_SECONDS = 0.02
# The limits that are asked for are those of a machine that does little else. Tests run several at once, where other things
# run, too, and disks are slow at times: a limit is for what hangs.
SLOWER = 4
# Many tests wait at once, and asking is what they do most: a condition that takes its time, and one that costs much, is
# looked at less often.
POLL_SECONDS_LONG, POLL_SECONDS_MAX = 0.1, 0.5


class TimedOut(AssertionError):
    pass


def wait_until(condition, seconds: float, what: str, watch=None):
    """Calls condition until it is truthy and returns that. `watch`, called in between, may raise
    when waiting has become pointless (a process died)."""
    seconds *= SLOWER
    began = time.monotonic()
    while True:
        asked = time.monotonic()
        result = condition()
        if result:
            return result
        if watch:
            watch()
        now = time.monotonic()
        if now - began > seconds:
            raise TimedOut(f"not within {seconds:g} s: {what}")
        pause = max(POLL_SECONDS, min((now - began) / 20, POLL_SECONDS_LONG), 2 * (now - asked))
        time.sleep(min(pause, POLL_SECONDS_MAX))

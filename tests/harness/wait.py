"""Waiting for a condition, never for a time: every wait has a limit and says what it waited for."""

import time

POLL_SECONDS = 0.02


class TimedOut(AssertionError):
    pass


def wait_until(condition, seconds: float, what: str, watch=None):
    """Calls condition until it is truthy and returns that. `watch`, called in between, may raise
    when waiting has become pointless (a process died)."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if watch:
            watch()
        if time.monotonic() > end:
            raise TimedOut(f"not within {seconds:g} s: {what}")
        time.sleep(POLL_SECONDS)

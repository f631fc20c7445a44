"""Processes that don't outlive the test that started them, however it ends."""

import ctypes
import signal

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def die_with_parent(number: int = signal.SIGKILL):
    """For Popen's preexec_fn."""

    def ask():
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)

    return ask

"""Processes that don't outlive the test that started them, however it ends."""

import ctypes
import signal
import socket

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def die_with_parent(number: int = signal.SIGKILL):
    """For Popen's preexec_fn."""

    def ask():
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)

    return ask


def free_port() -> int:
    """On 127.0.0.1, as the kernel gives it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

"""Processes that don't outlive the test that started them, however it ends."""

import ctypes
import random
import signal
import socket

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_PORTS = (10000, 30000)
_dice = random.SystemRandom()
_given: set[int] = set()


def die_with_parent(number: int = signal.SIGKILL):
    """For Popen's preexec_fn."""

    def ask():
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)

    return ask


def free_port() -> int:
    """On 127.0.0.1. Never the same twice, and none of those that the kernel gives to whoever connects to something: what
    is slow to listen on it, or stopped and started again, finds it free still."""
    while True:
        port = _dice.randrange(*_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # somebody has it
                continue
        _given.add(port)
        return port

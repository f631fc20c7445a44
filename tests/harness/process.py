"""Processes that don't outlive the test that started them, however it ends."""

import ctypes
import random
import signal
import socket

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_PORTS = (10000, 30000)
_dice = random.SystemRandom()
_given: dict[int, socket.socket] = {}


def die_with_parent(number: int = signal.SIGKILL):
    """For Popen's preexec_fn."""

    def ask():
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)

    return ask


def free_port() -> int:
    """On 127.0.0.1. Never the same twice while this process lives, nor another test's that runs beside it, and none of
    those that the kernel gives to whoever connects to something: what is slow to listen on it, or stopped and started
    again, finds it free still. Whoever has been given a port holds an abstract socket of that name."""
    while True:
        port = _dice.randrange(*_PORTS)
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(f"\0firn-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:  # somebody has it
            held.close()
            continue
        _given[port] = held
        return port

"""Ctrl-C of a command: it is raised once, again if it was lost, and never while a clean-up goes on."""

import subprocess
import sys

RUN = """
import os, signal, time
from sandbox import interrupts

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

class Finalized:
    def __del__(self):
        interrupt()
        # The handler runs between two instructions of Python.
        time.sleep(0)

interrupts.AGAIN_SECONDS = 0.05
interrupts.install()
"""


def output_of(script: str) -> list[str]:
    """Return what a script printed, line by line; its first statements are RUN."""
    command = [sys.executable, "-c", RUN + script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split("\n")[:-1]


def test_interrupt_that_a_finalizer_drops_is_raised_again() -> None:
    script = """
try:
    Finalized()
    print("dropped")
    time.sleep(30)
    print("never")
except KeyboardInterrupt:
    interrupts.settle()
    print("interrupted")
"""
    assert output_of(script) == ["dropped", "interrupted"]


def test_interrupt_that_a_library_swallows_is_raised_again() -> None:
    script = """
try:
    try:
        interrupt()
        time.sleep(30)
    except BaseException:
        pass
    print("swallowed")
    time.sleep(30)
    print("never")
except KeyboardInterrupt:
    interrupts.settle()
    print("interrupted")
"""
    assert output_of(script) == ["swallowed", "interrupted"]


def test_clean_up_after_an_interrupt_is_not_disturbed_by_more_signals() -> None:
    script = """
from contextlib import contextmanager

@contextmanager
def resource():
    try:
        yield
    finally:
        try:
            raise OSError
        except OSError:
            interrupt()
            time.sleep(0.3)
        time.sleep(0.3)
        print("cleaned up")

try:
    with resource():
        interrupt()
        time.sleep(30)
except KeyboardInterrupt:
    interrupts.settle()
    print("interrupted")
time.sleep(0.3)
print("ended by itself")
"""
    assert output_of(script) == ["cleaned up", "interrupted", "ended by itself"]

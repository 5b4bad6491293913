"""Clock, random choices and processes of a simulated world, which runs one step at a time.

A process is a greenlet: it runs until it calls a service, and other processes run until the answer arrives. So every
interleaving of real processes is possible, and a seed always gives the same one.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any, NamedTuple, override

from greenlet import GreenletExit, getcurrent, greenlet

from relay.deadline import Deadline

# The beginning of a simulated world, in epoch seconds.
BEGINS_AT = 1_800_000_000


class Time(NamedTuple):
    """A time with its begin and its end."""

    begins: float
    ends: float


class Crash(BaseException):
    """Death of a process, which its own `except Exception` must not catch."""


@dataclass(eq=False)
class Process:
    """A process that may die, and then neither continues nor answers.

    Attributes:
        claimed: incidents that it may have signalled.
        troubles: kinds of trouble that it met: "bug", "ledger", "queue".
        at_its_end: called with the process, once, at its end or death.
        works: kind of that message's job; empty if no message started the process.
        lost_races: number of those whose condition failed, since another process wrote in between.
        function: `id` of the webhook's functions that serve the request; None for other processes.
    """

    name: str
    incidents: Collection[str]
    at_its_end: Callable[["Process"], object]
    works: str = ""
    claimed: set[str] = field(default_factory=set)
    troubles: set[str] = field(default_factory=set)
    writes: int = 0
    lost_races: int = 0
    sends: Counter[str] = field(default_factory=Counter)
    started_at: float = 0.0
    function: int | None = None
    is_dead: bool = False
    is_over: bool = False
    # Calls that the process abandoned do not continue before this time.
    thaws_at: float = 0.0

    def end(self) -> None:
        """Call `at_its_end`, once."""
        if not self.is_over:
            self.is_over = True
            self.at_its_end(self)


class World:
    """Clock, random generator and future events of a world."""

    def __init__(self, seed: int) -> None:
        self.seed, self.random = seed, Random(seed)
        self.now = float(BEGINS_AT)
        self.began = self.now
        self.log: list[str] = []
        self._effects = sha256()
        self._next: list[tuple[float, int, Callable[[], object]]] = []
        self._until = self.now
        self._numbers = count()
        self._hub = getcurrent()
        self._processes: dict[greenlet, Process] = {}
        self._idle: list[greenlet] = []

    def at(self, moment: float, happen: Callable[[], object]) -> None:
        """Schedule an event."""
        heapq.heappush(self._next, (max(moment, self.now), next(self._numbers), happen))

    def run(self, until: float) -> None:
        """Run all events that are due by a time."""
        self._until = until
        while self._next and self._next[0][0] <= until:
            self.now, _, happen = heapq.heappop(self._next)
            happen()
        self.now = max(self.now, until)
        while self._idle:
            self._idle.pop().throw()

    def start(self, process: Process, work: Callable[[], object], *, at_most: float = math.inf) -> None:
        """Start a process, whose death affects no other. After `at_most` seconds it is killed.

        At its end its environment is frozen, as in Lambda. Requests that the process abandoned have left it: they have
        their effects at once, some seconds later, or never.
        """

        def life() -> None:
            try:
                work()
            except Crash:
                self.say(f"{process.name} dies")
            except GreenletExit:
                pass
            finally:
                self._processes.pop(getcurrent(), None)
                process.thaws_at = self.now + self.random.choice([0.0, self.random.uniform(0, 10), math.inf])
                process.end()

        process.started_at = self.now
        self.at(self.now, partial(self._body(process).switch, life))
        if at_most < math.inf:
            self.at(self.now + at_most, lambda: self._kill(process))

    def process(self) -> Process:
        """Return the running process."""
        return self._processes[getcurrent()]

    def running(self) -> Process | None:
        """Return the running process; None if no process runs."""
        return self._processes.get(getcurrent())

    def wait(self, seconds: float) -> None:
        """Let other processes run for so long. A process that died meanwhile does not continue."""
        ends = self.now + seconds if seconds > 0 else self.now
        if ends <= self._until and (not self._next or ends < self._next[0][0]):
            # Nothing happens meanwhile, so no other process has to run.
            self.now = ends
        else:
            self.at(ends, getcurrent().switch)
            self._hub.switch()
        self._go_on()

    def die(self) -> None:
        """End the running process, with all calls that it started."""
        self.process().is_dead = True
        raise Crash

    def call[T](self, work: Callable[[], T], seconds: float) -> T:
        """Return or raise the result of `work` within so many seconds; else abandon the call and raise TimeoutError."""
        me, process = getcurrent(), self.process()
        ended: list[tuple[str, Any]] = []

        def end(how: str, what: Any = None) -> None:
            if not ended:
                ended.append((how, what))
                me.switch()

        def life() -> greenlet | None:
            what: tuple[str, Any]
            try:
                what = ("returned", work())
            except GreenletExit:
                return None
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
                what = ("raised", error)
            finally:
                self._processes.pop(getcurrent(), None)
            if not ended and self._is_alone():
                ended.append(what)
                return me
            self.at(self.now, lambda: end(*what))
            return None

        is_alone, begin = self._is_alone(), partial(self._body(process).switch, life)
        if not is_alone:
            self.at(self.now, begin)
        self.at(self.now + seconds, lambda: end("late"))
        (begin if is_alone else self._hub.switch)()
        self._go_on()
        how, what = ended[0]
        if how == "raised":
            raise what
        if how == "late":
            raise TimeoutError("no result in time")
        result: T = what
        return result

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return self.random.random() < probability

    def say(self, what: str) -> None:
        """Log an event with its time; the log of a failed schedule is printed."""
        self.log.append(f"{self.now - self.began:9.3f} s  {what}")

    def note(self, *effect: Any) -> None:
        """Take something that left the library into account: text or plain data, such as a message or a record."""
        self._effects.update(repr(effect).encode())

    @property
    def effects(self) -> str:
        """Short digest of all effects so far."""
        return self._effects.hexdigest()[:4]

    def _go_on(self) -> None:
        """Return once the process is not frozen; end the running greenlet if the process is dead or stays frozen."""
        me = getcurrent()
        process = self._processes[me]
        while process.thaws_at > self.now and not process.is_dead:
            if process.thaws_at == math.inf:
                raise GreenletExit
            self.at(process.thaws_at, me.switch)
            self._hub.switch()
        if process.is_dead:
            raise GreenletExit

    def _kill(self, process: Process) -> None:
        if not process.is_over:
            self.say(f"{process.name} takes too long, and is killed")
            process.is_dead = True
            process.end()

    def _is_alone(self) -> bool:
        """Return True if nothing else happens at this moment, so that the hub has nothing to choose."""
        return not self._next or self._next[0][0] > self.now

    def _body(self, process: Process) -> greenlet:
        """Return a greenlet that lives a life of the process once it is switched to with it."""
        body = self._idle.pop() if self._idle else greenlet(self._lives, self._hub)
        self._processes[body] = process
        return body

    def _lives(self, life: Callable[[], greenlet | None]) -> None:
        """Live one life after another, since a new greenlet costs more than a life in an old one.

        A life returns the greenlet that goes on after it; None for the hub.
        """
        while True:
            then = life()
            self._idle.append(getcurrent())
            life = (then or self._hub).switch()


class WorldDeadline(Deadline):
    """Deadline in the simulated world's time. A late call is abandoned at its limit, as a socket's time-out does.

    The effect of an abandoned call may happen all the same, at once or later.
    """

    def __init__(self, seconds: float, world: World, clock: Callable[[], float]) -> None:
        super().__init__(seconds, clock)
        self._world = world

    @override
    def run[T](self, call: Callable[[], T], *, part: str, at_least: float = 0.0, at_most: float = float("inf")) -> T:
        """Run a call as the real deadline does, and abandon it if it is late."""
        seconds = min(at_most, max(at_least, self.remaining()))
        if seconds <= 0:
            raise TimeoutError("no time was left")
        return self._world.call(call, seconds)

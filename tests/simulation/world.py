"""Time, chance and the processes of a simulated world: each step of each process happens at one moment, in one order.

A process is a greenlet: it goes on until it asks something of the outside, then others go on until the answer is there.
So every interleaving that real processes may have can happen, and the same seed makes the same one again.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count
from random import Random
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from relay.deadline import Deadline

# The time, in epoch seconds, at which a simulated world begins.
BEGINS_AT = 1_800_000_000


class Crash(BaseException):
    """A process dies: no `except Exception` of its own may hold it up."""


class Process:
    """Something that runs, may die, and then neither goes on nor answers.

    `incidents` are those that it has in hand, `claimed` those that it may have rung for; `troubles` are what it met:
    "bug", "ledger", "queue". `at_its_end` is called once, however it ends. `woken_by` is the queue whose message began
    it, and `hops` the length of that message's chain. `writes` counts writes of the table, `sends` messages by queue.
    """

    def __init__(
        self, name: str, incidents: Iterable[str] = (), at_its_end: Callable[[], object] = lambda: None
    ) -> None:
        self.name = name
        self.incidents = frozenset(incidents)
        self.claimed: set[str] = set()
        self.troubles: set[str] = set()
        self.woken_by, self.hops = "", 0
        self.writes = 0
        self.sends: Counter[str] = Counter()
        self.at_its_end = at_its_end
        self.is_dead = False
        self.is_over = False
        # What it left behind does not go on before that.
        self.thaws_at = 0.0

    def end(self) -> None:
        """It is over, for those who watch."""
        if not self.is_over:
            self.is_over = True
            self.at_its_end()


class World:
    """The clock of a world, its chance, and what happens next."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = float(BEGINS_AT)
        self.began = self.now
        self.log: list[str] = []
        self._next: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()
        self._hub = getcurrent()
        self._processes: dict[greenlet, Process] = {}

    def at(self, moment: float, happen: Callable[[], object]) -> None:
        """Let something happen at a moment."""
        heapq.heappush(self._next, (max(moment, self.now), next(self._numbers), happen))

    def run(self, until: float) -> None:
        """Let everything happen that is due by then."""
        while self._next and self._next[0][0] <= until:
            self.now, _, happen = heapq.heappop(self._next)
            happen()
        self.now = max(self.now, until)

    def is_idle(self) -> bool:
        """Whether nothing will ever happen again."""
        return not self._next

    def start(self, process: Process, work: Callable[[], object], *, at_most: float = math.inf) -> None:
        """Let a process begin; its death is nobody else's. It is killed when it runs for longer than `at_most`.

        Then its environment is frozen, as Lambda does it, until the next one begins there, or for ever.
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
                process.thaws_at = self.now + self.random.choice([0.0, self.random.uniform(0, 100), math.inf])
                process.end()

        self._spawn(process, life)
        if at_most < math.inf:
            self.at(self.now + at_most, lambda: self._kill(process))

    def process(self) -> Process:
        """The process that runs now."""
        return self._processes[getcurrent()]

    def wait(self, seconds: float) -> None:
        """Let others go on for so long. A process that died meanwhile ends here."""
        self.at(self.now + seconds, getcurrent().switch)
        self._hub.switch()
        self._go_on()

    def die(self) -> None:
        """The end of the process that runs now, with all that it started."""
        self.process().is_dead = True
        raise Crash

    def call[T](self, work: Callable[[], T], seconds: float) -> T:
        """What `work` returns, or raises, within so many seconds; else TimeoutError, and it goes on, left behind."""
        me, process = getcurrent(), self.process()
        ended: list[tuple[str, Any]] = []
        is_waiting = True

        def end(how: str, what: Any = None) -> None:
            nonlocal is_waiting
            if is_waiting:
                is_waiting = False
                ended.append((how, what))
                me.switch()

        def life() -> None:
            what: tuple[str, Any]
            try:
                what = ("returned", work())
            except GreenletExit:
                return
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
                what = ("raised", error)
            finally:
                self._processes.pop(getcurrent(), None)
            self.at(self.now, lambda: end(*what))

        self._spawn(process, life)
        self.at(self.now + seconds, lambda: end("late"))
        self._hub.switch()
        self._go_on()
        how, what = ended[0]
        if how == "raised":
            raise what
        if how == "late":
            raise TimeoutError("no result in time")
        result: T = what
        return result

    def chance(self, probability: float) -> bool:
        """True as often as that."""
        return self.random.random() < probability

    def say(self, what: str) -> None:
        """Write down what happens, for a schedule that failed."""
        self.log.append(f"{self.now - self.began:9.3f} s  {what}")

    def _go_on(self) -> None:
        """Go on, if the process lives and is not frozen."""
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

    def _spawn(self, process: Process, life: Callable[[], None]) -> None:
        body = greenlet(life, self._hub)
        self._processes[body] = process
        self.at(self.now, body.switch)


class WorldDeadline(Deadline):
    """A deadline in a world's time: a call that is late is left behind, as the real one's thread is."""

    def __init__(self, seconds: float, world: World, clock: Callable[[], float]) -> None:
        super().__init__(seconds, clock)
        self._world = world

    def run[T](
        self,
        call: Callable[[], T],
        *,
        part: str,
        reserve: float = 0.0,
        at_least: float = 0.0,
        at_most: float = float("inf"),
    ) -> T:
        """As the real one does, but for the thread."""
        return self._world.call(call, min(at_most, max(at_least, self.remaining(reserve))))

"""Simulated SQS for the real library: a queue with delays."""

from heapq import heappop, heappush
from typing import Any

from tests.fakes import Clock, FakeSqs


class DelayedQueue(FakeSqs):
    """A queue that keeps each message with the time at which it becomes visible. A call takes `seconds`."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds
        # Time at which each message was sent.
        self.sent: list[float] = []
        # Time at which each message becomes visible, its number, and its body.
        self.waiting: list[tuple[float, int, str]] = []

    def send_message(self, **message: Any) -> dict[str, str]:
        self._clock.now += self._seconds
        self.sent.append(self._clock.now)
        heappush(self.waiting, (self._clock.now + message["DelaySeconds"], len(self.sent), message["MessageBody"]))
        return {"MessageId": f"m{len(self.sent)}"}

    @property
    def next_at(self) -> float:
        """Time at which the next message becomes visible; infinite if there is none."""
        return self.waiting[0][0] if self.waiting else float("inf")

    def due(self) -> list[dict[str, Any]]:
        """Return the next message, after moving the clock to the time at which it becomes visible."""
        due, number, body = heappop(self.waiting)
        self._clock.now = max(self._clock.now, due)
        return [{"messageId": str(number), "body": body}]

"""The worker's side of a replay: a job comes in as JSON, what became of it goes out as JSON."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relay.deadline import Deadline
from relay.delivery import Outcome, Redelivery, Result
from relay.errors import Reason
from relay.message import Job, UnreadableMessage
from relay.telemetry import Telemetry

JOB_SECONDS = 20.0


@dataclass(frozen=True)
class Worker:
    """Works jobs off. `ticks` gives seconds that never go back."""

    redelivery: Redelivery
    telemetry: Telemetry
    ticks: Callable[[], float] = time.monotonic

    def replay(self, envelope: str) -> dict[str, Any]:
        """Try one job again; return its outcome as plain data, never an exception.

        The members are those of a Result that say something, but for the last copy.
        """
        try:
            job = Job.from_json(envelope)
        except UnreadableMessage as error:
            result = Result(Outcome.UNSAFE, "", reason=Reason.INTERNAL, detail=f"unreadable: {error}")
            self.telemetry.replayed(None, result, {})
            return _document(result)
        deadline = Deadline(JOB_SECONDS, self.ticks)
        result = self._redeliver(job, deadline)
        self.telemetry.replayed(job, result, deadline.spent)
        return _document(result)

    def _redeliver(self, job: Job, deadline: Deadline) -> Result:
        if job.kind != "signal":
            detail = f"this version does not know jobs of kind {job.kind}"
            return Result(Outcome.UNSAFE, job.channel, job.incident_id, reason=Reason.INTERNAL, detail=detail)
        try:
            return self.redelivery.redeliver(job, deadline)
        except Exception as error:  # noqa: BLE001 - one job's crash must not hide what became of the others
            self.telemetry.crashed(error)
            detail = type(error).__name__
            return Result(Outcome.UNSAFE, job.channel, job.incident_id, reason=Reason.INTERNAL, detail=detail)


def _document(result: Result) -> dict[str, Any]:
    names = (
        "outcome",
        "request_id",
        "reason",
        "attempts",
        "http_status",
        "response_excerpt",
        "detail",
        "may_have_rung",
    )
    said = {name: getattr(result, name) for name in names}
    return {name: value for name, value in said.items() if value is not None and value is not False and value != ""}

"""Outbox: the queue of each job, its delay, and jobs that are reduced since they are too large."""

import base64
import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from relay.channels.routes import values_of
from relay.deadline import Deadline, limited
from relay.incidents.share import parse_share
from relay.jobs.job import Flag, Job
from relay.jobs.queue import Outbox, envelope_of, fitting, last_copy, read_envelope, stored_envelope
from relay.jobs.reduced_body import reduced_body
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock, FakeSqs

KIB = 1024
NOISE = samples.noise(1_800_000)
KEPT = {"id": "i1", "status": "critical", "changedOn": 1_800_000_000, "active": True, "tags": {"x": 1}}
FACTS = {"metadata": {"facts_of_last_share": {"tag.x": ["1"]}}}
NOTE = "cut to fit: alerts are here by id and status alone"


class Desk:
    """An outbox on fake queues."""

    def __init__(self) -> None:
        self.clock, self.retries, self.chores, self.dead_letters = Clock(), FakeSqs(), FakeSqs(), FakeSqs()
        run = limited(lambda _: Deadline(1, self.clock), 1, "enqueue")
        self.outbox = Outbox(
            retries=self.retries.queue().limited(run),
            chores=self.chores.queue().limited(run),
            dead_letters=self.dead_letters.queue().limited(run),
            clock=self.clock,
        )

    def enqueue(self, job: Job, after: float = 30) -> bool:
        return self.outbox.enqueue(job, until=self.clock() + after)


@pytest.mark.parametrize(("after", "delay"), [(-500, 0), (0, 0), (0.001, 1), (29.2, 30), (900, 900), (1e6, 900)])
def test_delay_is_rounded_up_to_seconds_and_cut_to_the_limit_of_sqs(after: float, delay: int) -> None:
    desk = Desk()
    desk.enqueue(samples.job(), after)
    assert desk.retries.delays() == [delay]


@pytest.mark.parametrize(
    ("members", "at"),
    [
        ({}, "2027-01-15T08:00:01.500Z"),
        ({"dead_lettered_at": "2026-01-01T00:00:00.000Z"}, "2027-01-15T08:00:01.500Z"),
        ({"revived_at": "2027-01-15T08:00:02.500Z"}, "2027-01-15T08:00:02.501Z"),
    ],
    ids=["first time", "again", "revived by a function whose clock is ahead"],
)
def test_dead_lettered_job_has_the_time_of_its_last_dead_lettering(members: dict[str, Any], at: str) -> None:
    desk = Desk()
    desk.clock.now += 1.5
    marked = desk.outbox.dead_letter(samples.job(**members))
    assert desk.dead_letters.jobs() == [marked] == [samples.job(**members | {"dead_lettered_at": at})]
    assert (desk.dead_letters.delays(), desk.retries.messages) == ([0], [])


def fits(envelope: str) -> bool:
    return len(envelope) <= 1016 * KIB


def storable(job: Job) -> Job:
    return fitting(job, 390 * KIB)


@pytest.mark.parametrize("reduce", [fitting, storable])
@pytest.mark.parametrize(
    "body",
    [samples.body(), samples.body(filler="x" * 3_000_000), random.Random(7).randbytes(900_000)],
    ids=["small", "compresses well", "no share"],
)
def test_job_is_left_whole_if_it_is_small_or_cannot_be_cut(reduce: Any, body: bytes) -> None:
    job = samples.job(body=body)
    assert reduce(job) is job


@pytest.mark.parametrize(("reduce", "most"), [(fitting, 1_800_000), (storable, 700_000)])
def test_job_that_is_too_large_loses_its_alert_details_and_says_so(reduce: Any, most: int) -> None:
    alerts = [{"id": "a1", "status": "critical", "description": NOISE[:most]}]
    job = samples.job(body=samples.body(alerts=alerts))
    assert fits(envelope_of(job)) == (reduce is storable)
    reduced = reduce(job)
    assert fits(envelope_of(reduced))
    assert reduced == job._replace(body=reduced.body).with_flags(Flag.BODY_REDUCED)
    read = parse_share(reduced.body)
    assert (read.incident_id, read.status, read.version) == ("i1", "critical", job.version)
    assert ([alert.id for alert in read.alerts], read.document["incident"]["relay_note"]) == (["a1"], NOTE)


def test_body_that_was_cut_has_the_facts_that_routes_ask_about() -> None:
    tags = [[{"name": "Team", "value": "dba"}, {"name": "trace", "value": noise(90 + number)}] for number in range(300)]
    alerts = [
        {"id": f"a{number}", "tags": tags[number], "source_system": f"nagios.{number % 2}"} for number in range(300)
    ]
    share = parse_share(reduced_body(parse_share(samples.body(alerts=alerts))))
    assert values_of("tag.team", share, is_open=True) == ("dba",)
    assert {"nagios.0", "nagios.1"} <= set(values_of("source_system", share, is_open=True))


@pytest.mark.parametrize("size", [195 * KIB, 195 * KIB + 1, 290_000, 900_000])
def test_stored_job_fits_an_item(size: int) -> None:
    text = random.Random(7).randbytes(size).decode("latin-1")
    body = random.Random(7).randbytes(size) if size == 195 * KIB else samples.body(noise=text)
    job = samples.job(body=body, recipients=("x" * 200,) * 200, response_excerpt="\u2713" * 1024)
    FakeDynamoDb().table(Clock()).store("job/" + "x" * 1100, stored_envelope(job), lasts=60)


@pytest.mark.parametrize(("noise", "is_reduced"), [(0, False), (200_000, False), (400_000, True)])
def test_last_copy_is_whole_unless_it_is_too_long_for_a_log_line(noise: int, is_reduced: bool) -> None:
    job = samples.job(body=samples.body(noise=NOISE[:noise]))
    copy = last_copy(job)
    assert len(copy) <= 200_000
    assert (Flag.BODY_REDUCED in read_envelope(copy).flags, read_envelope(copy) != job) == (is_reduced, is_reduced)


@cache
def noise(size: int) -> str:
    return base64.b85encode(random.Random(size).randbytes(size)).decode()[:size]


def astral_noise(size: int) -> str:
    return "".join(map(chr, random.Random(size).choices(range(0x10000, 0x10FFFF), k=size)))


def alert(number: int) -> dict[str, Any]:
    return {"id": noise(24 + number % 7), "status": "critical", "description": noise(2048), "tags": noise(9000)}


def tag(number: int) -> dict[str, str]:
    return {"name": f"t{number}", "value": noise(1900 + number)}


@pytest.mark.parametrize(
    "made",
    [
        lambda: {"incident": {"id": "i1", "alerts": [alert(number) for number in range(300)]}},
        lambda: {"id": "i1", "alerts": [{"id": noise(50_000), "status": noise(5000)} for _ in range(70)]},
        lambda: {"id": "i1", "alerts": [f"{number}" for number in range(400_000)]},
        lambda: {"id": "x" * 512, "status": noise(3_000_000), "severity": noise(900_000)},
        lambda: {"id": "i1", **{f"{number}-{noise(3000)}": noise(3000) for number in range(600)}},
        lambda: {"id": "i1", noise(3_900_000): 1},
        lambda: {"id": "i1", "alerts": [{"id": f"{n}", "tags": [tag(n)]} for n in range(900)]},
        lambda: {"id": "i1", "deep": {"deep": noise(3_900_000)}},
        lambda: {astral_noise(200 + n): astral_noise(1100 + n) for n in range(120)} | {"id": 1},
        lambda: b'{"id": "i1", "number": 1e999, "other": -1e999, "big": ' + b"9" * 4000 + b"}",
    ],
    ids=["alerts", "long alerts", "ids", "words", "members", "name", "tags", "nested", "astral", "numbers"],
)
def test_reduced_body_always_fits_a_message(made: Callable[[], dict[str, Any] | bytes]) -> None:
    document = made()
    share = parse_share(document if isinstance(document, bytes) else json.dumps(document).encode())
    text = envelope_of(samples.job(status=share.status, incident_id=share.incident_id, body=reduced_body(share)))
    assert fits(text)
    left = json.loads(read_envelope(text).body)
    assert parse_share(json.dumps(left).encode()).incident_id == share.incident_id


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            {
                "incident": {
                    **KEPT,
                    "alerts": [{"id": "a1", "status": "Critical", "description": "long"}, {"id": "a2"}],
                }
            },
            {
                "incident": {
                    **KEPT,
                    "alerts": [{"id": "a1", "status": "critical"}, {"id": "a2", "status": "unknown"}],
                    "relay_note": NOTE,
                    "description": "long",
                }
            }
            | FACTS,
        ),
        (
            {"incident_id": 7, "event": "incident#new"},
            {"id": "7", "incident_id": 7, "event": "incident#new", "alerts": [], "relay_note": NOTE},
        ),
        (
            {"incident": {"status": "ok"}, "id": 7},
            {"id": 7, "incident": {"id": "7", "status": "ok", "alerts": [], "relay_note": NOTE}},
        ),
    ],
    ids=["incident", "bare", "id beside the incident"],
)
def test_reduced_body_keeps_the_state_of_the_incident(document: dict[str, Any], expected: dict[str, Any]) -> None:
    assert json.loads(reduced_body(parse_share(json.dumps(document).encode()))) == expected

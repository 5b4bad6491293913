import base64
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.incidents.share import parse_share
from relay.jobs.envelope import envelope_of, fits, read_envelope
from relay.jobs.outbox import reduced_body
from tests import samples

TEXT = st.text(st.characters(exclude_categories=()), max_size=40)


def envelope(document: dict[str, Any] | bytes) -> str:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    share = parse_share(body)
    job = samples.job(incident_id=share.incident_id, status=share.status, body=reduced_body(share), body_reduced=True)
    return envelope_of(job)


def noise(size: int) -> str:
    return base64.b85encode(random.Random(size).randbytes(size)).decode()[:size]


def astral_noise(size: int) -> str:
    return "".join(map(chr, random.Random(size).choices(range(0x10000, 0x10FFFF), k=size)))


def alert(number: int) -> dict[str, Any]:
    return {"id": noise(24 + number % 7), "status": "critical", "description": noise(2048), "tags": noise(9000)}


class TestReducedBody:
    @pytest.mark.parametrize(
        "made",
        [
            lambda: {"incident": {"id": "i1", "alerts": [alert(number) for number in range(300)]}},
            lambda: {"id": "i1", "alerts": [{"id": noise(50_000), "status": noise(5000)} for _ in range(70)]},
            lambda: {"id": "i1", "alerts": [f"{number}" for number in range(400_000)]},
            lambda: {"id": "x" * 512, "status": noise(3_000_000), "severity": noise(900_000)},
            lambda: {"id": "i1", **{f"{number}-{noise(3000)}": noise(3000) for number in range(600)}},
            lambda: {"id": "i1", noise(3_900_000): 1},
            lambda: {"id": "i1", "deep": {"deep": noise(3_900_000)}},
            lambda: {astral_noise(200 + n): astral_noise(1100 + n) for n in range(120)} | {"id": 1},
            lambda: b'{"id": "i1", "number": 1e999, "other": -1e999, "big": ' + b"9" * 4000 + b"}",
        ],
        ids=["alerts", "long alerts", "ids", "words", "members", "name", "nested", "astral", "numbers"],
    )
    def test_envelope_of_a_reduced_body_always_fits(self, made: Callable[[], dict[str, Any] | bytes]) -> None:
        text = envelope(made())
        assert fits(text)
        left = json.loads(read_envelope(text).body)
        assert parse_share(json.dumps(left).encode()).incident_id

    def test_reduced_body_keeps_the_state_of_the_incident_and_says_that_it_was_cut(self) -> None:
        alerts = [{"id": "a1", "status": "Critical", "description": "long"}, {"id": "a2"}]
        share = samples.share(severity="critical", active=True, alerts=alerts, tags={"x": 1}, links=[1])
        left = json.loads(reduced_body(share))
        assert left == {
            "incident": {
                "id": "i1",
                "status": "critical",
                "changedOn": 1_800_000_000,
                "severity": "critical",
                "active": True,
                "tags": {"x": 1},
                "links": [1],
                "alerts": [{"id": "a1", "status": "critical"}, {"id": "a2", "status": "unknown"}],
                "relay_note": "cut to fit: alerts are here by id and status alone",
            }
        }
        assert parse_share(reduced_body(share)).version == share.version

    def test_reduced_body_keeps_the_status_behind_many_other_members(self) -> None:
        others = {f"field-{number}": "x" * 50 for number in range(200)}
        share = parse_share(json.dumps({"incident": {"id": "i1", **others, "status": "critical"}}).encode())
        assert parse_share(reduced_body(share)).status == "critical"

    def test_reduced_bare_body_stays_bare(self) -> None:
        left = json.loads(reduced_body(parse_share(b'{"incident_id": 7, "event": "incident#new"}')))
        assert (left["id"], left["incident_id"], left["event"]) == ("7", 7, "incident#new")

    def test_reduced_body_keeps_an_incident_id_beside_the_incident(self) -> None:
        left = json.loads(reduced_body(parse_share(b'{"incident": {"status": "ok"}, "id": 7}')))
        assert left["incident"]["id"] == "7"

    @given(st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT))
    def test_reduced_body_of_any_members_is_strict_json(self, members: dict[str, Any]) -> None:
        # Another spelling of `id` may come first, and hold no id.
        others = {name: value for name, value in members.items() if not name.lower().startswith(("id", "incident"))}
        share = parse_share(json.dumps(others | {"id": "i1"}).replace("Infinity", "1e999").encode())
        left = parse_share(reduced_body(share))
        assert left.incident_id == share.incident_id

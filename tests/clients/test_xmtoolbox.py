"""xmtoolbox, under Node, against xMatters' stand-in: events, people, groups, on-call, audits, annotations, OAuth."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.server.in_process import Box
from tests.clients.driving import Outcome, xmtoolbox
from tests.clients.tenant import BASIC, OAUTH, signal
from tests.workflow_scripts.node import NODE

ROOT = Path(__file__).parents[2]
LOGIN = (BASIC["username"], BASIC["password"])

type Run = Callable[..., list[Outcome]]


@pytest.fixture(scope="module")
def packages() -> Path:
    """Folder with the client; a test is skipped if it is not installed."""
    folder = ROOT / ".cache/xmtoolbox"
    if not (folder / ".done").exists():
        pytest.skip("xmtoolbox is not installed: `make checks` got none from the npm registry")
    return folder / "node_modules"


@pytest.fixture
def run(box: Box, packages: Path) -> Run:
    """Function that lets the client do calls, with valid Basic credentials by default; it returns their outcomes."""
    box.events.declare(BASIC)

    def run(*calls: Sequence[Any], login: tuple[str, str] = LOGIN) -> list[Outcome]:
        return xmtoolbox(box, NODE, packages, login, calls)

    return run


def values(done: list[Outcome]) -> list[Any]:
    """Return the values of outcomes, none of which may be an error."""
    assert [(each.error, each.message) for each in done if each.error] == []
    return [each.value for each in done]


class TestEvents:
    def test_trigger_accepts_a_signal_and_the_client_fails_on_its_answer(self, box: Box, run: Run) -> None:
        trigger = box.declare(BASIC)
        [done] = run(["events", "create", {"incident": {"id": "i1"}, "recipients": "dba"}, trigger.function])
        # The client expects an `id` or `data`; a trigger's 202 has a `requestId`.
        assert done.error == "TypeError"
        [accepted] = box.signals()
        assert accepted.body["incident"] == {"id": "i1"}
        [found] = values(run(["events", "getMany", {"requestId": accepted.request_id}]))
        assert [each["requestId"] for each in found] == [accepted.request_id]

    def test_property_with_a_language_is_found(self, box: Box, run: Run) -> None:
        signal(box, "i1")
        signal(box, "i2")
        query = {"propertyName": "incident_id#en,status#en", "propertyValue": "i2,critical"}
        [[found]] = values(run(["events", "getMany", query]))
        assert found["id"] == box.events.all()[1].id


class TestDirectory:
    def test_encoded_comma_is_part_of_a_groups_name(self, run: Run) -> None:
        one, none = values(
            run(["onCall", "getMany", {"groups": "Network, Ops"}], ["onCall", "getMany", {"groups": "dba,Network"}])
        )
        assert [each["group"]["targetName"] for each in one] == ["Network, Ops"]
        assert none == []


class TestOAuth:
    def test_tokens_are_got_and_renewed_with_credentials_in_the_query(self, box: Box, run: Run) -> None:
        box.events.declare(OAUTH)
        password = {"grant_type": "password"} | {key: OAUTH[key] for key in ("client_id", "username", "password")}
        [token] = values(run(["oauth", "getToken", password]))
        assert token.keys() == {"access_token", "token_type", "refresh_token", "expires_in", "jti"}
        refresh = {"grant_type": "refresh_token", "client_id": "client-1", "refresh_token": token["refresh_token"]}
        [renewed] = values(run(["oauth", "refreshToken", refresh]))
        assert renewed["access_token"] != token["access_token"]

"""Attacks with a revoked credential, in functions that have its channel cached."""

import json
from collections import Counter
from typing import Any

import pytest

from relay.channels.authentication import Request
from relay.failures import ChannelUnreadable, UnknownChannel
from relay.ledger import credentials
from tests import samples
from tests.fakes import TABLE_DOWN, FakeSecrets, FakeSession, Relay

LEAKED, NEW = "leaked-token-of-24-characters", "new-token-of-24-characters"
DOWN = ChannelUnreadable("Secrets Manager could not be reached")


def secret(token: str, **inbound: Any) -> str:
    policy = {"min_seconds_between_signals": 0}
    return json.dumps(samples.secret(inbound={"token": token, **inbound}, policy=policy))


@pytest.fixture
def relay() -> Relay:
    """A relay that knows the leaked token."""
    relay = Relay(FakeSession(samples.accepted()), secrets=FakeSecrets(noc=secret(LEAKED), other=secret(LEAKED)))
    assert relay.webhook.serve(showing(LEAKED)).status == 200
    return relay


def showing(token: str, **changes: Any) -> Request:
    return samples.request(headers={"x-api-key": token}, **changes)


def status(relay: Relay, token: str, **changes: Any) -> int:
    return relay.webhook.serve(showing(token, **changes)).status


def revoke(relay: Relay) -> None:
    """Write a channel's change mark for a revocation, as relayctl does after it wrote the channel's new secret."""
    credentials.change_mark(relay.credentials.table(relay.clock), "noc", "m1", relay.clock.now, revokes=True)


def seconds_until_refused(relay: Relay) -> float:
    began = relay.clock.now
    while status(relay, LEAKED) == 200:
        relay.clock.now += 0.5
    return relay.clock.now - began


class TestRevoked:
    @pytest.mark.parametrize(("now", "answer"), [(secret(NEW), 200), (UnknownChannel("noc"), 401)])
    def test_token_of_a_revocation_or_removal_is_refused_within_ten_seconds_of_its_mark_although_its_channel_is_cached(
        self, relay: Relay, now: str | Exception, answer: int
    ) -> None:
        relay.secrets.texts["noc"] = now
        revoke(relay)
        assert seconds_until_refused(relay) <= 10
        assert (status(relay, LEAKED), status(relay, NEW)) == (401, answer)

    def test_function_that_cannot_read_the_new_secret_answers_503_to_every_token(self, relay: Relay) -> None:
        relay.secrets.texts["noc"] = DOWN
        revoke(relay)
        relay.clock.now += 10
        reads = len(relay.secrets.reads)
        assert (status(relay, LEAKED), status(relay, NEW)) == (503, 503)
        assert len(relay.secrets.reads) == reads + 1
        assert relay.recorder.metrics()["unsafe"] == 1, "the sender with the old token may be BigPanda"
        relay.secrets.texts["noc"] = secret(NEW)
        relay.clock.now += 2
        assert (status(relay, LEAKED), status(relay, NEW)) == (401, 200)

    def test_new_token_is_valid_at_once_although_the_secret_was_read_just_before_the_revocation(
        self, relay: Relay
    ) -> None:
        relay.clock.now += 9
        assert status(relay, "wrong-token-of-24-characters") == 401
        relay.secrets.texts["noc"] = secret(NEW)
        revoke(relay)
        relay.clock.now += 1.5
        assert (status(relay, NEW), status(relay, LEAKED)) == (200, 401)

    @pytest.mark.parametrize("revokes", [True, False])
    @pytest.mark.parametrize("channel", ["noc", "other"])
    def test_revocation_acts_although_another_mark_is_written_before_functions_read_it(
        self, relay: Relay, revokes: bool, channel: str
    ) -> None:
        relay.secrets.texts["noc"] = secret(NEW)
        revoke(relay)
        table = relay.credentials.table(relay.clock)
        credentials.change_mark(table, channel, "m2", relay.clock.now, revokes=revokes)
        assert seconds_until_refused(relay) <= 10


class TestOutages:
    def test_last_marks_hold_while_the_marks_cannot_be_read(self, relay: Relay) -> None:
        relay.credentials.failure = TABLE_DOWN
        for _ in range(30):
            relay.clock.now += 600
            assert status(relay, LEAKED) == 200, "the secret is read every five minutes"
        assert relay.recorder.metrics()["stale_channel"] == 30

    def test_changed_secret_that_cannot_be_read_is_read_by_jobs_every_ten_seconds_at_most(self, relay: Relay) -> None:
        relay.secrets.texts["noc"] = DOWN
        credentials.change_mark(relay.credentials.table(relay.clock), "noc", "m1", relay.clock.now, revokes=False)
        relay.clock.now += 10
        relay.secrets.reads.clear()
        for _ in range(25):
            relay.channels.for_work("noc")
            relay.clock.now += 1
        assert relay.secrets.reads == ["noc"] * 3

    @pytest.mark.parametrize("token", [LEAKED, NEW])
    def test_hour_without_secret_and_marks_is_answered_503_and_never_401(self, relay: Relay, token: str) -> None:
        relay.secrets.texts["noc"] = DOWN
        relay.credentials.failure = TABLE_DOWN
        relay.clock.now += 3600 - 1
        assert status(relay, LEAKED) == 200
        relay.clock.now += 1
        assert status(relay, token) == 503
        relay.clock.now += 86_400
        assert status(relay, token) == 503
        relay.credentials.failure = None
        relay.clock.now += 10
        assert status(relay, LEAKED) == 200


def test_marks_are_read_once_in_ten_seconds_whatever_comes(relay: Relay) -> None:
    relay.credentials.calls.clear()
    relay.secrets.reads.clear()
    for number in range(500):
        relay.clock.now += 0.1
        relay.webhook.serve(showing(LEAKED, channel=("noc", "other")[number % 2]))
    calls = Counter(relay.credentials.calls)
    assert calls.keys() == {"get_item", "put_item"}
    assert (calls["get_item"] in {4, 5}, calls["put_item"]) == (True, 1)
    assert relay.secrets.reads == ["other"]


class TestUses:
    """Last uses of credentials: an operator reads them before a rotation ends the previous credential."""

    def uses(self, relay: Relay) -> dict[str, float | None]:
        channel, table = relay.channels.get("noc"), relay.credentials.table(relay.clock)
        found = channel.fingerprints("inbound")
        return {age: credentials.last_used(table, "noc", "inbound", fingerprint) for age, _, fingerprint in found}

    def test_each_credential_has_its_own_time_of_last_use(self, relay: Relay) -> None:
        relay.secrets.texts["noc"] = secret(NEW, previous={"token": LEAKED, "expires_at": "2027-02-01T00:00:00Z"})
        first = relay.clock.now
        relay.clock.now += 300
        assert status(relay, NEW) == 200
        assert self.uses(relay) == {"current": relay.clock.now, "previous": first}

    def test_use_by_who_calls_himself_relayctl_is_recorded(self) -> None:
        relay = Relay(FakeSession(samples.accepted()), secrets=FakeSecrets(noc=secret(LEAKED)))
        relay.webhook.serve(samples.request(headers={"x-api-key": LEAKED, "user-agent": "relayctl/1.0"}))
        assert self.uses(relay)["current"] == relay.clock.now

    def test_item_of_a_use_does_not_reveal_a_weak_password(self) -> None:
        """A password's fingerprint depends on the trigger URL's API key too, so a weak password cannot be guessed."""
        found = set()
        for key in ("1", "2"):
            login = {"basic": {"username": "u", "password": "hunter2"}}
            url = f"https://acme.xmatters.com/api/integration/1/functions/f/triggers?apiKey={key}"
            [(_, kind, fingerprint)] = samples.parsed(samples.secret(url=url, inbound=login)).fingerprints("inbound")
            assert kind == "basic"
            found.add(fingerprint)
        assert len(found) == 2

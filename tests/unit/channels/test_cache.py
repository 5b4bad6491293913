import json

import pytest

from relay.channels import cache as channel_cache
from relay.channels.cache import (
    ChannelCache,
)
from relay.failures.errors import ChannelForbidden, ChannelUnreadable, UnknownChannel
from tests import samples
from tests.fakes import HOSTS, Clock, FakeSecrets

OLD = json.dumps(samples.secret())
NEW = json.dumps(samples.secret(inbound={"token": "new-token"}))
MALFORMED = json.dumps({"inbound": {}})
DOWN = ChannelUnreadable("Secrets Manager could not be reached")


class CachedChannels:
    """A cache that keeps channels for five minutes, and reads their secrets from a fake.

    `notices` has the name and the detail of each notice of the cache.
    """

    def __init__(self, unknown_seconds: float = 60, **texts: str | Exception) -> None:
        self.clock = Clock()
        self.secrets = FakeSecrets(**texts)
        self.notices: list[tuple[str, str]] = []
        self.cache = ChannelCache(
            self.secrets,
            HOSTS,
            seconds=300,
            clock=self.clock,
            notice=lambda name, detail: self.notices.append((name, detail)),
            unknown_seconds=unknown_seconds,
        )

    def token(self, name: str = "noc") -> str | None:
        return self.cache.get(name).inbound[0].token

    def refreshed(self, name: str = "noc") -> str | None:
        return self.cache.refresh(name).inbound[0].token

    def for_refusal(self, name: str = "noc") -> str | None:
        return self.cache.for_refusal(name).inbound[0].token


class TestKnown:
    def test_many_shares_cost_one_read_of_the_secret(self) -> None:
        scene = CachedChannels(noc=OLD)
        for _ in range(100):
            scene.clock.now += 2.9
            assert scene.token() == samples.TOKEN
        assert scene.secrets.reads == ["noc"]

    def test_changed_secret_is_seen_when_the_cached_one_is_five_minutes_old(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = NEW
        scene.clock.now += 299.9
        assert scene.token() == samples.TOKEN
        scene.clock.now += 0.1
        assert scene.token() == "new-token"

    def test_refresh_reads_a_secret_that_is_ten_seconds_old(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = NEW
        scene.clock.now += 10
        assert scene.refreshed() == "new-token"
        assert scene.token() == "new-token"

    def test_refreshes_are_ten_seconds_apart_however_often_they_are_asked_for(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        for _ in range(1000):
            scene.clock.now += 0.05
            scene.refreshed()
        # Within 50 seconds there is one read every ten seconds after the first one.
        assert 4 <= len(scene.secrets.reads) - 1 <= 5

    def test_refresh_of_an_uncached_channel_reads_it(self) -> None:
        assert CachedChannels(noc=OLD).refreshed() == samples.TOKEN

    def test_removed_channel_is_unknown_when_its_cached_secret_is_five_minutes_old(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        del scene.secrets.texts["noc"]
        scene.clock.now += 300
        with pytest.raises(UnknownChannel):
            scene.token()
        with pytest.raises(UnknownChannel):
            scene.token()
        assert scene.secrets.reads == ["noc", "noc"]

    def test_removed_channel_is_unknown_after_a_refresh(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        del scene.secrets.texts["noc"]
        scene.clock.now += 10
        with pytest.raises(UnknownChannel):
            scene.refreshed()


class TestLastGoodCopy:
    # The `except ChannelUnreadable` in `ChannelCache._read_again` serves the cached channel.
    @pytest.mark.parametrize("trouble", [DOWN, MALFORMED, "not json", ""])
    def test_cached_channel_is_served_while_its_secret_is_unreadable(self, trouble: str | Exception) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = trouble
        scene.clock.now += 300
        assert scene.token() == samples.TOKEN
        assert [name for name, _ in scene.notices] == ["stale_channel"]

    def test_notice_of_a_stale_channel_has_the_problem_without_the_secret(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = json.dumps(samples.secret(policy={"body": "canary"}))
        scene.clock.now += 300
        scene.token()
        assert scene.notices == [
            (
                "stale_channel",
                "the secret of channel noc is malformed: policy.body: must be one of bigpanda, xmatters",
            )
        ]

    def test_unreadable_secret_is_read_every_ten_seconds_at_most(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = DOWN
        scene.clock.now += 300
        for _ in range(1000):
            scene.clock.now += 0.05
            scene.token()
            scene.refreshed()
        assert 5 <= len(scene.secrets.reads) - 1 <= 6
        assert len(scene.notices) == len(scene.secrets.reads) - 1

    def test_cached_channel_is_served_for_days_and_then_the_corrected_secret(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = DOWN
        for _ in range(100):
            scene.clock.now += 3600
            assert scene.token() == samples.TOKEN
        scene.secrets.texts["noc"] = NEW
        scene.clock.now += 10
        assert scene.token() == "new-token"

    def test_failed_refresh_keeps_a_fresh_copy_fresh(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = DOWN
        scene.clock.now += 10
        assert scene.refreshed() == samples.TOKEN
        scene.clock.now += 200
        assert scene.token() == samples.TOKEN
        assert len(scene.secrets.reads) == 2

    @pytest.mark.parametrize("trouble", [DOWN, MALFORMED, "not json"])
    def test_unreadable_secret_without_a_cached_channel_is_an_error_until_it_is_corrected(
        self, trouble: str | Exception
    ) -> None:
        scene = CachedChannels(noc=trouble)
        with pytest.raises(ChannelUnreadable):
            scene.token()
        with pytest.raises(ChannelUnreadable):
            scene.refreshed()
        scene.secrets.texts["noc"] = OLD
        scene.clock.now += 10
        assert scene.token() == samples.TOKEN
        assert scene.notices == []

    def test_forbidden_secret_is_read_once_in_ten_seconds(self) -> None:
        scene = CachedChannels(noc=ChannelForbidden("AccessDeniedException"))
        for _ in range(60):
            with pytest.raises(ChannelUnreadable, match="AccessDenied"):
                scene.token()
        assert len(scene.secrets.reads) == 1
        scene.secrets.texts["noc"] = OLD
        scene.clock.now += 10
        assert scene.token() == samples.TOKEN

    def test_failure_of_secrets_manager_without_a_cached_channel_is_not_remembered(self) -> None:
        scene = CachedChannels(noc=DOWN)
        with pytest.raises(ChannelUnreadable):
            scene.token()
        scene.secrets.texts["noc"] = OLD
        assert scene.token() == samples.TOKEN

    def test_malformed_secret_is_read_once_in_ten_seconds(self) -> None:
        scene = CachedChannels(noc=MALFORMED)
        for _ in range(60):
            with pytest.raises(ChannelUnreadable, match="malformed"):
                scene.token()
        assert len(scene.secrets.reads) == 1


class TestRecent:
    """Reads for authentication: the function reads the secret again before it refuses a credential."""

    def test_credential_that_became_valid_two_seconds_ago_is_admitted(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = NEW
        scene.clock.now += 2
        assert scene.for_refusal() == "new-token"

    def test_reads_for_authentication_are_two_seconds_apart_however_often_they_are_asked_for(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        for _ in range(1000):
            scene.clock.now += 0.01
            scene.for_refusal()
        # Within 10 seconds there is one read every two seconds after the first one.
        assert 4 <= len(scene.secrets.reads) - 1 <= 5

    @pytest.mark.parametrize("trouble", [DOWN, MALFORMED])
    def test_unreadable_secret_is_an_error_for_authentication_although_a_cached_channel_exists(
        self, trouble: str | Exception
    ) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = trouble
        scene.clock.now += 2
        for _ in range(10):
            with pytest.raises(ChannelUnreadable):
                scene.for_refusal()
        assert len(scene.secrets.reads) == 2
        assert [name for name, _ in scene.notices] == ["stale_channel"]
        assert scene.token() == samples.TOKEN, "requests with the known credential are served from the copy"

    def test_failed_read_for_authentication_is_remembered_for_two_seconds(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = DOWN
        scene.clock.now += 2
        with pytest.raises(ChannelUnreadable):
            scene.for_refusal()
        scene.secrets.texts["noc"] = NEW
        scene.clock.now += 2
        assert scene.for_refusal() == "new-token"

    def test_failed_read_for_a_share_counts_as_a_read_for_authentication(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = DOWN
        scene.clock.now += 300
        assert scene.token() == samples.TOKEN
        with pytest.raises(ChannelUnreadable):
            scene.for_refusal()
        assert len(scene.secrets.reads) == 2

    def test_reads_for_authentication_leave_no_outdated_outbound_credential(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        for _ in range(10):
            scene.clock.now += 2
            scene.for_refusal()
        scene.secrets.texts["noc"] = NEW
        scene.clock.now += 2
        scene.for_refusal()
        assert scene.refreshed() == "new-token"

    def test_clock_that_is_set_back_does_not_keep_an_old_secret(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = NEW
        scene.clock.now -= 3600
        assert scene.for_refusal() == "new-token"

    def test_unknown_names_cost_one_lookup_at_authentication(self) -> None:
        scene = CachedChannels()
        for _ in range(50):
            with pytest.raises(UnknownChannel):
                scene.for_refusal("ghost")
        assert scene.secrets.reads == ["ghost"]

    def test_removed_channel_is_refused_within_two_seconds(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        del scene.secrets.texts["noc"]
        scene.clock.now += 2
        with pytest.raises(UnknownChannel):
            scene.for_refusal()


class TestMisconfigured:
    """Misconfigured channels: a channel whose settings could reach nobody is still served, and counted."""

    def test_misconfigured_channel_is_served_and_counted_once_a_read(self) -> None:
        scene = CachedChannels(noc=json.dumps(samples.secret(policy={"routes": [{"when": {}, "recipients": []}]})))
        for _ in range(3):
            assert scene.token() == samples.TOKEN
        detail = "channel noc: policy.routes.0.when: must not be empty; policy.routes.0.recipients: must not be empty"
        assert scene.notices == [("misconfigured_channel", detail)]
        scene.clock.now += 300
        scene.token()
        assert [name for name, _ in scene.notices] == ["misconfigured_channel"] * 2

    def test_well_configured_channel_is_not_counted_as_misconfigured(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        assert scene.notices == []


class TestUnknown:
    def test_unknown_channel_is_remembered_for_a_minute(self) -> None:
        scene = CachedChannels()
        for _ in range(50):
            with pytest.raises(UnknownChannel):
                scene.token("ghost")
        assert scene.secrets.reads == ["ghost"]
        scene.clock.now += 60
        scene.secrets.texts["ghost"] = OLD
        assert scene.token("ghost") == samples.TOKEN

    def test_worker_finds_a_channel_that_was_made_again_within_two_seconds(self) -> None:
        scene = CachedChannels(unknown_seconds=2)
        with pytest.raises(UnknownChannel):
            scene.token()
        scene.secrets.texts["noc"] = OLD
        scene.clock.now += 2
        assert scene.token() == samples.TOKEN

    def test_refresh_of_an_unknown_channel_is_remembered_for_a_minute(self) -> None:
        scene = CachedChannels()
        for _ in range(50):
            with pytest.raises(UnknownChannel):
                scene.refreshed("ghost")
        assert scene.secrets.reads == ["ghost"]

    def test_known_channel_is_read_again_after_many_guessed_names(self) -> None:
        scene = CachedChannels(noc=OLD)
        scene.token()
        scene.secrets.texts["noc"] = NEW
        scene.clock.now += 300
        for number in range(100):
            with pytest.raises((UnknownChannel, ChannelUnreadable)):
                scene.token(f"guess-{number}")
        assert scene.token() == "new-token"

    def test_clock_that_is_set_back_does_not_lock_new_channels_out(self) -> None:
        scene = CachedChannels(noc=OLD)
        with pytest.raises(UnknownChannel):
            scene.token("ghost")
        scene.clock.now -= 3600
        assert scene.token() == samples.TOKEN

    def test_memory_for_guessed_channel_names_is_bounded(self) -> None:
        scene = CachedChannels()
        for number in range(1024 + 200):
            scene.clock.now += 1
            with pytest.raises(UnknownChannel):
                scene.token(f"guess-{number}")
        assert len(scene.cache._absent) == 1024


def test_cache_times_are_those_of_the_contract() -> None:
    limits = (channel_cache.RECENT_SECONDS, channel_cache.REFRESH_SECONDS, channel_cache.UNKNOWN_SECONDS)
    assert limits == (2, 10, 60)

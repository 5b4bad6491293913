import json

import pytest

from relay.channels import cache as channel_cache
from relay.channels.cache import (
    JOBS_UNKNOWN_SECONDS,
    MALFORMED_SECONDS,
    MAX_ABSENT,
    RECENT_SECONDS,
    REFRESH_SECONDS,
    UNKNOWN_SECONDS,
    ChannelCache,
)
from relay.errors import ChannelForbidden, ChannelUnreadable, UnknownChannel
from tests import samples
from tests.fakes import HOSTS, Clock, FakeSecrets

OLD = json.dumps(samples.secret())
NEW = json.dumps(samples.secret(inbound={"token": "new-token"}))
MALFORMED = json.dumps({"inbound": {}})
DOWN = ChannelUnreadable("Secrets Manager could not be reached")


class Room:
    """A cache of five minutes over fakes; `notices` is what it said."""

    def __init__(self, unknown_seconds: float = UNKNOWN_SECONDS, **texts: str | Exception) -> None:
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

    def recent(self, name: str = "noc") -> str | None:
        return self.cache.recent(name).inbound[0].token


class TestKnown:
    def test_many_shares_cost_one_read(self) -> None:
        room = Room(noc=OLD)
        for _ in range(100):
            room.clock.now += 2.9
            assert room.token() == samples.TOKEN
        assert room.secrets.reads == ["noc"]

    def test_a_change_is_seen_when_the_time_is_over(self) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = NEW
        room.clock.now += 299.9
        assert room.token() == samples.TOKEN
        room.clock.now += 0.1
        assert room.token() == "new-token"

    def test_a_refresh_reads_at_once_what_was_read_a_while_ago(self) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = NEW
        room.clock.now += REFRESH_SECONDS
        assert room.refreshed() == "new-token"
        assert room.token() == "new-token"

    def test_refreshes_come_ten_seconds_apart_however_often_they_are_asked_for(self) -> None:
        room = Room(noc=OLD)
        room.token()
        for _ in range(1000):
            room.clock.now += 0.05
            room.refreshed()
        # 50 seconds: the first read, and one every ten seconds.
        assert 4 <= len(room.secrets.reads) - 1 <= 5

    def test_a_refresh_of_what_was_never_read_reads_it(self) -> None:
        assert Room(noc=OLD).refreshed() == samples.TOKEN

    def test_a_removed_channel_is_unknown_as_soon_as_it_is_asked_for(self) -> None:
        room = Room(noc=OLD)
        room.token()
        del room.secrets.texts["noc"]
        room.clock.now += 300
        with pytest.raises(UnknownChannel):
            room.token()
        with pytest.raises(UnknownChannel):
            room.token()
        assert room.secrets.reads == ["noc", "noc"]

    def test_a_removed_channel_is_unknown_at_a_refresh_too(self) -> None:
        room = Room(noc=OLD)
        room.token()
        del room.secrets.texts["noc"]
        room.clock.now += REFRESH_SECONDS
        with pytest.raises(UnknownChannel):
            room.refreshed()


class TestLastGoodCopy:
    # Cured by the `except ChannelUnreadable` in `ChannelCache._read_again`.
    @pytest.mark.parametrize("trouble", [DOWN, MALFORMED, "not json", ""])
    def test_a_cache_must_not_raise_with_a_good_copy_in_its_hand(self, trouble: str | Exception) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = trouble
        room.clock.now += 300
        assert room.token() == samples.TOKEN
        assert [name for name, _ in room.notices] == ["stale_channel"]

    def test_the_notice_says_why_without_the_secret(self) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = json.dumps(samples.secret(policy={"body": "canary"}))
        room.clock.now += 300
        room.token()
        assert room.notices == [
            (
                "stale_channel",
                "the secret of channel noc is malformed: policy.body: must be one of bigpanda, xmatters",
            )
        ]

    def test_while_it_fails_it_is_asked_every_ten_seconds_only(self) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = DOWN
        room.clock.now += 300
        for _ in range(1000):
            room.clock.now += 0.05
            room.token()
            room.refreshed()
        assert 5 <= len(room.secrets.reads) - 1 <= 6
        assert len(room.notices) == len(room.secrets.reads) - 1

    def test_it_serves_however_long_that_lasts_and_the_mended_secret_afterwards(self) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = DOWN
        for _ in range(100):
            room.clock.now += 3600
            assert room.token() == samples.TOKEN
        room.secrets.texts["noc"] = NEW
        room.clock.now += REFRESH_SECONDS
        assert room.token() == "new-token"

    def test_a_failed_refresh_leaves_a_fresh_copy_fresh(self) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = DOWN
        room.clock.now += REFRESH_SECONDS
        assert room.refreshed() == samples.TOKEN
        room.clock.now += 200
        assert room.token() == samples.TOKEN
        assert len(room.secrets.reads) == 2

    @pytest.mark.parametrize("trouble", [DOWN, MALFORMED, "not json"])
    def test_without_a_copy_nobody_can_tell(self, trouble: str | Exception) -> None:
        room = Room(noc=trouble)
        with pytest.raises(ChannelUnreadable):
            room.token()
        with pytest.raises(ChannelUnreadable):
            room.refreshed()
        room.secrets.texts["noc"] = OLD
        room.clock.now += MALFORMED_SECONDS
        assert room.token() == samples.TOKEN
        assert room.notices == []

    def test_a_secret_that_may_not_be_read_is_asked_for_once_in_ten_seconds(self) -> None:
        room = Room(noc=ChannelForbidden("AccessDeniedException"))
        for _ in range(60):
            with pytest.raises(ChannelUnreadable, match="AccessDenied"):
                room.token()
        assert len(room.secrets.reads) == 1
        room.secrets.texts["noc"] = OLD
        room.clock.now += MALFORMED_SECONDS
        assert room.token() == samples.TOKEN

    def test_hiccup_of_secrets_manager_is_not_remembered_at_all(self) -> None:
        room = Room(noc=DOWN)
        with pytest.raises(ChannelUnreadable):
            room.token()
        room.secrets.texts["noc"] = OLD
        assert room.token() == samples.TOKEN

    def test_a_malformed_secret_is_read_once_in_ten_seconds(self) -> None:
        room = Room(noc=MALFORMED)
        for _ in range(60):
            with pytest.raises(ChannelUnreadable, match="malformed"):
                room.token()
        assert len(room.secrets.reads) == 1


class TestRecent:
    """The door reads the secret again before it refuses a credential."""

    def test_a_credential_that_was_made_valid_two_seconds_ago_is_known(self) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = NEW
        room.clock.now += RECENT_SECONDS
        assert room.recent() == "new-token"

    def test_reads_come_two_seconds_apart_however_often_the_door_asks(self) -> None:
        room = Room(noc=OLD)
        room.token()
        for _ in range(1000):
            room.clock.now += 0.01
            room.recent()
        # 10 seconds: the first read, and one every two seconds.
        assert 4 <= len(room.secrets.reads) - 1 <= 5

    @pytest.mark.parametrize("trouble", [DOWN, MALFORMED])
    def test_an_unreadable_secret_is_an_error_though_an_old_copy_is_there(self, trouble: str | Exception) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = trouble
        room.clock.now += RECENT_SECONDS
        for _ in range(10):
            with pytest.raises(ChannelUnreadable):
                room.recent()
        assert len(room.secrets.reads) == 2
        assert [name for name, _ in room.notices] == ["stale_channel"]
        assert room.token() == samples.TOKEN, "requests with the known credential are served from the copy"

    def test_a_failed_read_is_remembered_for_two_seconds_only(self) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = DOWN
        room.clock.now += RECENT_SECONDS
        with pytest.raises(ChannelUnreadable):
            room.recent()
        room.secrets.texts["noc"] = NEW
        room.clock.now += RECENT_SECONDS
        assert room.recent() == "new-token"

    def test_a_failed_read_for_a_share_counts_as_the_doors_read(self) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = DOWN
        room.clock.now += 300
        assert room.token() == samples.TOKEN
        with pytest.raises(ChannelUnreadable):
            room.recent()
        assert len(room.secrets.reads) == 2

    def test_the_doors_reads_do_not_keep_a_refused_outbound_credential(self) -> None:
        room = Room(noc=OLD)
        room.token()
        for _ in range(10):
            room.clock.now += RECENT_SECONDS
            room.recent()
        room.secrets.texts["noc"] = NEW
        room.clock.now += RECENT_SECONDS
        room.recent()
        assert room.refreshed() == "new-token"

    def test_a_clock_that_is_set_back_does_not_keep_an_old_copy(self) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = NEW
        room.clock.now -= 3600
        assert room.recent() == "new-token"

    def test_unknown_names_cost_no_more_look_ups_than_a_get(self) -> None:
        room = Room()
        for _ in range(50):
            with pytest.raises(UnknownChannel):
                room.recent("ghost")
        assert room.secrets.reads == ["ghost"]

    def test_a_removed_channel_is_unknown_to_the_door_within_two_seconds(self) -> None:
        room = Room(noc=OLD)
        room.token()
        del room.secrets.texts["noc"]
        room.clock.now += RECENT_SECONDS
        with pytest.raises(UnknownChannel):
            room.recent()


class TestMisconfigured:
    """A channel that may notify nobody is signalled all the same, and counted."""

    def test_it_is_loaded_and_counted_once_a_read(self) -> None:
        room = Room(noc=json.dumps(samples.secret(policy={"routes": [{"when": {}, "recipients": []}]})))
        for _ in range(3):
            assert room.token() == samples.TOKEN
        detail = "channel noc: policy.routes.0.when: must not be empty; policy.routes.0.recipients: must not be empty"
        assert room.notices == [("misconfigured_channel", detail)]
        room.clock.now += 300
        room.token()
        assert [name for name, _ in room.notices] == ["misconfigured_channel"] * 2

    def test_nothing_is_counted_for_a_channel_that_notifies_somebody(self) -> None:
        room = Room(noc=OLD)
        room.token()
        assert room.notices == []


class TestUnknown:
    def test_an_unknown_name_is_remembered_for_a_minute(self) -> None:
        room = Room()
        for _ in range(50):
            with pytest.raises(UnknownChannel):
                room.token("ghost")
        assert room.secrets.reads == ["ghost"]
        room.clock.now += UNKNOWN_SECONDS
        room.secrets.texts["ghost"] = OLD
        assert room.token("ghost") == samples.TOKEN

    def test_job_worker_finds_a_channel_that_was_made_again_within_two_seconds(self) -> None:
        room = Room(unknown_seconds=JOBS_UNKNOWN_SECONDS)
        with pytest.raises(UnknownChannel):
            room.token()
        room.secrets.texts["noc"] = OLD
        room.clock.now += 2
        assert room.token() == samples.TOKEN

    def test_a_refresh_does_not_get_around_that(self) -> None:
        room = Room()
        for _ in range(50):
            with pytest.raises(UnknownChannel):
                room.refreshed("ghost")
        assert room.secrets.reads == ["ghost"]

    def test_a_known_channel_is_read_again_whatever_was_guessed(self) -> None:
        room = Room(noc=OLD)
        room.token()
        room.secrets.texts["noc"] = NEW
        room.clock.now += 300
        for number in range(100):
            with pytest.raises((UnknownChannel, ChannelUnreadable)):
                room.token(f"guess-{number}")
        assert room.token() == "new-token"

    def test_a_clock_that_is_set_back_does_not_lock_new_channels_out(self) -> None:
        room = Room(noc=OLD)
        with pytest.raises(UnknownChannel):
            room.token("ghost")
        room.clock.now -= 3600
        assert room.token() == samples.TOKEN

    def test_what_is_remembered_of_guesses_is_bounded(self) -> None:
        room = Room()
        for number in range(MAX_ABSENT + 200):
            room.clock.now += 1
            with pytest.raises(UnknownChannel):
                room.token(f"guess-{number}")
        assert len(room.cache._absent) == MAX_ABSENT


def test_the_limits_are_those_of_the_contract() -> None:
    limits = (channel_cache.RECENT_SECONDS, channel_cache.REFRESH_SECONDS, channel_cache.UNKNOWN_SECONDS)
    assert limits == (2, 10, 60)

"""Job: its times, its names, and its way to the dead-letter queue and back."""

import pytest

from relay.jobs.job import seconds_of, timestamp
from tests import samples

EARLY, LATE = "2027-01-15T08:00:00.000Z", "2027-01-15T08:00:00.009Z"


def test_timestamps_are_utc_with_milliseconds_and_read_back() -> None:
    assert timestamp(1_795_564_860.1249) == "2026-11-25T00:01:00.124Z"
    assert seconds_of("2026-11-25T00:01:00.124Z") == 1_795_564_860.124
    with pytest.raises(ValueError, match="yesterday"):
        seconds_of("yesterday")


@pytest.mark.parametrize(("revived_at", "is_revived"), [(None, False), (EARLY, False), (LATE, True)])
def test_job_is_revived_if_it_woke_after_it_was_dead_lettered(revived_at: str | None, is_revived: bool) -> None:
    assert samples.job(dead_lettered_at=EARLY, revived_at=revived_at).is_revived == is_revived


def test_revived_job_starts_anew_later_than_its_dead_lettering_on_a_slow_clock() -> None:
    waits = {"not_before": EARLY, "ledger_down_since": EARLY, "waits_for_ledger": True, "bell": True}
    revived = samples.job(dead_lettered_at=LATE, **waits).revived(seconds_of(EARLY))
    assert (revived.revived_at, revived.stamps.replays) == ("2027-01-15T08:00:00.010Z", 1)
    assert (revived.not_before, revived.ledger_down_since, revived.flags) == (None, None, frozenset())
    assert revived.age_counts_from == seconds_of("2027-01-15T08:00:00.010Z")

import pytest

from relay.jobs.job import seconds_of, timestamp
from tests import samples


def test_timestamps_are_utc_with_milliseconds_and_read_back() -> None:
    assert timestamp(1_795_564_860.1249) == "2026-11-25T00:01:00.124Z"
    assert seconds_of("2026-11-25T00:01:00.124Z") == 1_795_564_860.124
    with pytest.raises(ValueError, match="yesterday"):
        seconds_of("yesterday")


def test_two_copies_of_a_share_are_stored_under_two_names() -> None:
    first = samples.job(received_at="2027-01-15T08:00:00.000Z")
    assert first.delivery_id == first._replace(received_at="2027-01-15T08:00:00.009Z").delivery_id
    assert first.stored_name != first._replace(received_at="2027-01-15T08:00:00.009Z").stored_name

"""Order and batches of a replay."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.jobs.job import Job, timestamp
from relayctl.dlq.mover import waves
from tests.samples import job
from tests.unit.relayctl_fakes import held


def jobs(count: int, **changes: Any) -> list[Job]:
    """Return one job for each of `count` incidents, received a second apart."""
    return [
        job(digest=f"d{n}", incident_id=f"i{n}", received_at=timestamp(1_790_000_000 + n), **changes)
        for n in range(count)
    ]


class TestWaves:
    def test_incident_is_in_at_most_one_batch_of_a_wave(self) -> None:
        some = [(held(each), each) for each in (*jobs(9), job(incident_id="i0"), *jobs(12)[9:], job(incident_id="i0"))]
        for wave in waves(some, 80):
            where = [{each.incident_id for _, each in batch} for batch in wave]
            assert sum(map(len, where)) == len(set().union(*where))

    def test_many_states_of_one_incident_fill_a_batch_each(self) -> None:
        some = [(held(each), each) for each in [job(incident_id="i0")] * 25]
        assert [[len(batch) for batch in wave] for wave in waves(some, 80)] == [[10], [10], [5]]

    @given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 100))
    def test_waves_leave_nothing_out_and_keep_the_order_of_each_incident(self, names: list[int], most: int) -> None:
        some = [(held(None), job(incident_id=f"i{n}", attempts=place)) for place, n in enumerate(names)]
        cut = [[pair for batch in wave for pair in batch] for wave in waves(some, most)]
        assert all(0 < len(wave) <= most for wave in cut)
        assert [pair for wave in cut for pair in wave] == some

"""relayctl channel remove --drain: what it waits for, what it refuses, and how it ends."""

import pytest
from click.testing import Result

from tests.integration.relayctl_cloud import Operator
from tests.integration.relayctl_logs import Logs


@pytest.fixture
def logs(operator: Operator) -> Logs:
    found = Logs(operator)
    # Both groups exist in a deployed stack.
    found.share("other", 3000)
    found.write("job-worker", 3000, "job", channel="other", kind="signal", outcome="delivered", delivery_id="d")
    return found


def remove(operator: Operator, *options: str, code: int = 0) -> Result:
    done = operator.run("channel", "remove", "noc", "--drain", *options)
    assert done.exit_code == code, done.output
    return done


def exists(operator: Operator) -> bool:
    return operator.run("channel", "show", "noc").exit_code == 0


class TestDrain:
    def test_drain_waits_until_nothing_is_owed_and_says_what_it_waits_for(self, operator: Operator, logs: Logs) -> None:
        operator.keep("noc")
        operator.owe("noc", "i1", 300)
        pauses = list[float]()

        def later() -> None:
            pauses.append(operator.clock.now)
            if len(pauses) == 3:
                operator.settle("i1")

        operator.on_pause = later
        done = remove(operator, "--yes")
        assert "channel noc waits: 1 owed, the oldest for 5m" in done.stderr
        assert "draining: 0 of 1: channel noc waits: 1 owed" in done.stderr
        assert len(pauses) == 4, "three pauses of the drain, and one of the revocation mark"
        assert not exists(operator)

    def test_drain_waits_until_the_last_share_is_older_than_the_quiet_time(
        self, operator: Operator, logs: Logs
    ) -> None:
        operator.keep("noc")
        logs.share("noc", 90)
        began = operator.clock.now
        remove(operator, "--yes", "--quiet", "5m")
        assert 210 <= operator.clock.now - began <= 240

    def test_drain_is_refused_at_once_while_shares_still_come(self, operator: Operator, logs: Logs) -> None:
        operator.keep("noc")
        logs.share("noc", 30)
        began = operator.clock.now
        done = remove(operator, "--yes", code=1)
        assert "channel noc: shares still come" in done.stderr
        assert "Disable AutoShare in BigPanda first" in done.stderr
        assert (exists(operator), operator.clock.now) == (True, began)

    def test_timeout_names_what_is_left_and_leaves_the_channel(self, operator: Operator, logs: Logs) -> None:
        operator.keep("noc")
        operator.owe("noc", "i1", 300)
        done = remove(operator, "--yes", "--timeout", "2m", code=1)
        assert "not drained after 2 minutes" in done.stderr
        assert "channel noc waits: 1 owed, the oldest for" in done.stderr
        assert exists(operator)

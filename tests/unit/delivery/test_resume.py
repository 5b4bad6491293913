"""Jobs that wake on the retry queue: the worker sends a job's state if the ledger still owes it."""

from copy import replace

import pytest

from relay.failures.reasons import Reason
from relay.incidents.share import parse_share
from relay.jobs.job import Job
from relay.jobs.outcome import Outcome, Result
from tests import samples
from tests.fakes import HookedDynamoDb, Relay, new_relay, table_down

DOWN = samples.refused(503)
LATER = 1_800_000_001


def resumed(relay: Relay, job: Job) -> Result:
    """Let the relay resume a job; return the result."""
    return relay.delivery.resume(job, parse_share(job.body), relay.channels.get("noc"), relay.deadline(15))


class TestResume:
    def test_resumed_job_is_sent_to_its_own_recipients_with_its_delivery_id_and_next_attempt(self) -> None:
        relay = new_relay(samples.accepted("r9"))
        job = samples.job(recipients=("a b", "c"), digest=samples.share().digest)
        result = resumed(relay, job)
        assert (result.outcome, result.exchange.request_id) == (Outcome.DELIVERED, "r9")
        [call] = relay.session.calls
        assert (call.body, call.url) == (samples.body(), samples.TRIGGER_URL + "&recipients=a%20b,c")
        assert call.headers["X-Relay-Delivery-Id"] == job.delivery_id
        assert call.headers["X-Relay-Attempt"] == "4"

    def test_resumed_job_is_sent_once_per_wake(self) -> None:
        relay = new_relay(DOWN)
        result = resumed(relay, samples.job())
        assert (result.outcome, result.queue, result.exchange.attempts) == (Outcome.QUEUED, "retry", 1)
        assert (len(relay.session.calls), len(relay.retries.messages)) == (1, 1)

    @pytest.mark.parametrize(("may_have_paged", "says"), [(True, "true"), (False, None)])
    def test_resumed_job_says_may_repeat_only_after_an_attempt_that_may_have_notified(
        self, may_have_paged: bool, says: str | None
    ) -> None:
        relay = new_relay()
        resumed(relay, samples.job(may_have_paged=may_have_paged))
        assert relay.session.calls[0].headers.get("X-Relay-May-Repeat") == says

    def test_resumed_job_that_the_ledger_does_not_owe_is_not_sent(self) -> None:
        relay = new_relay()
        relay.share(changedOn=LATER)
        recipients: tuple[str, ...] = ()
        assert resumed(relay, samples.job(recipients=recipients)).outcome == Outcome.SUPERSEDED
        same = replace(relay.retries.jobs()[0], received_at="2027-01-15T09:00:00.000Z")
        assert resumed(relay, same).outcome == Outcome.DUPLICATE
        newer = samples.job(recipients=recipients, version=(LATER + 1, LATER + 1))
        assert resumed(relay, newer).outcome == Outcome.UNCHANGED
        assert len(relay.session.calls) == 1

    @pytest.mark.parametrize("inherited", [(LATER, LATER), None], ids=["a share before", "no share"])
    def test_late_share_stays_superseded_after_a_job_without_timestamps_inherited_those_of(
        self, inherited: tuple[float, float] | None
    ) -> None:
        relay = new_relay()
        relay.share(changedOn=LATER)
        job = samples.job(
            recipients=(),
            version=inherited,
            received_at="2027-01-15T09:00:00.000Z",
            digest="another",
            borrowed_version=inherited is not None,
        )
        # Recorded after the job was queued, although it came before.
        relay.clock.now += 60
        relay.share(changedOn=LATER + 20, comments=["seen"])
        assert resumed(relay, job).outcome == Outcome.UNCHANGED
        relay.clock.now += 7200
        late = relay.share(changedOn=LATER + 10, status="ok", active=False, resolved=True)
        assert late.outcome == Outcome.SUPERSEDED
        assert len(relay.session.calls) == 1

    def test_resumed_job_that_the_rate_limit_holds_reserves_a_slot(self) -> None:
        relay = new_relay(policy={"max_per_minute": 1})
        relay.share(id="i9")
        relay.clock.now += 30
        result = resumed(relay, samples.job())
        assert (result.outcome, result.reason, result.queue) == (Outcome.QUEUED, Reason.PACED, "retry")
        slot = relay.entry(recipients=("Network Operations",)).debt.slot
        assert slot
        assert (slot.at, slot.is_critical) == (result.until, True)


class TestPlans:
    """Plans: the numbers of a state's messages, of which the entry records the last one."""

    def test_each_failed_wake_queues_a_higher_plan_than_a_copy_that_met_its_lease_and_records_it(self) -> None:
        relay = new_relay(DOWN)
        relay.share()
        for plan in (1, 3, 5):
            assert ([job.plan for job in relay.retries.jobs()], relay.entry().debt.plan) == ([plan], plan)
            relay.wake(60)

    def test_wait_queues_the_next_plan_and_records_it(self) -> None:
        relay = new_relay(policy={"min_seconds_between_signals": 60})
        relay.share(status="warning")
        relay.retries.messages.clear()
        relay.share(status="unknown", changedOn=LATER)
        [first] = relay.retries.jobs()
        assert relay.entry().debt.plan == first.plan == 2
        relay.wake(10)
        [second] = relay.retries.jobs()
        assert relay.entry().debt.plan == second.plan == 3

    def test_message_that_a_later_one_replaced_is_dropped(self) -> None:
        relay = new_relay(DOWN)
        relay.share()
        [first] = relay.retries.jobs()
        relay.wake(36)
        calls = len(relay.session.calls)
        result = resumed(relay, first)
        assert (result.outcome, result.queue, result.reason) == (Outcome.QUEUED, "retry", None)
        assert (len(relay.session.calls), len(relay.retries.messages)) == (calls, 1)

    @pytest.mark.parametrize("more", [0, 1], ids=["the recorded plan", "a plan whose record was lost"])
    def test_message_with_the_recorded_plan_or_a_higher_one_acts(self, more: int) -> None:
        relay = new_relay(DOWN, DOWN, DOWN, samples.accepted())
        relay.share()
        [job] = relay.retries.jobs()
        plan = job.plan + more
        assert resumed(relay, job.planned(plan)).outcome == Outcome.DELIVERED
        assert relay.entry().debt.plan == plan, "the claim records it"

    def test_failure_that_could_not_be_recorded_is_retried_by_the_message_that_was_queued_before(self) -> None:
        table = HookedDynamoDb()
        relay = new_relay(DOWN, DOWN, DOWN, DOWN, samples.accepted(), dynamodb=table)
        relay.share()
        [first] = relay.retries.jobs()
        relay.retries.messages.clear()
        # The wake's writes: the gate, the claim, and the record of the failure.
        table.before["update_item", table.calls.count("update_item") + 2] = table_down
        resumed(relay, first)
        [second] = relay.retries.jobs()
        assert second.plan > relay.entry().debt.plan
        relay.wake(16)
        assert (len(relay.session.calls), relay.entry().debt.since, relay.retries.messages) == (5, None, [])

"""Tests of the benchmarks' pure parts: medians, ratios, aims, tables, capacity units and costs."""

import contextlib
import io
import json
import re
from collections import Counter
from copy import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from samtranslator.yaml_helper import yaml_parse

import bench
from bench import bodies, capacity, cost, month, prices, stranger, tables, traffic
from bench.__main__ import plain
from bench.drain import Drained
from bench.figures import Aim, Section, Spread, compared, measured
from bench.functions import Spent
from bench.rounds import interleaved
from relay.channels.api_gateway import MAX_BODY_BYTES
from relay.incidents.share import parse_share
from relay.ledger.row import SHARDS
from relay.telemetry.metrics import ALWAYS, CHANNEL_METRICS

COUNTED = traffic.Counted(
    reads=2, read_units=2, writes=3, write_units=4, sends=1, send_requests=1, jobs=1, secret_reads=0.02
)
WEBHOOK = cost.Invocation(cpu=0.006, aws_calls=5, log_bytes=1000, log_lines=2)
WORKER = cost.Invocation(cpu=0.002, aws_calls=1, log_bytes=900, log_lines=2)


def shown(*sections: Section) -> str:
    console = Console(file=io.StringIO(), width=112)
    for section in sections:
        console.print(*tables.of(section))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestSpread:
    def test_spread_is_the_median_and_the_quartiles(self) -> None:
        assert Spread.of([5, 1, 2, 4, 3]) == Spread(3, 2, 4, 5)
        assert Spread.of([1, 2]) == Spread(1.5, 1.25, 1.75, 2)

    def test_spread_of_one_value_has_that_value_as_median_and_quartiles(self) -> None:
        assert Spread.of([7.0]) == Spread(7, 7, 7, 1)

    def test_spread_of_no_values_is_refused(self) -> None:
        with pytest.raises(ValueError, match="nothing"):
            Spread.of([])


class TestRatio:
    def test_ratio_is_computed_for_each_round(self) -> None:
        # A machine that slows down tenfold in the second round slows both.
        figure = compared("path", "ms", [2, 20, 2], [1, 10, 2], "POST")
        assert figure.ratio == Spread.of([2, 2, 1])
        assert figure.base
        assert figure.base.median == 2

    def test_ratio_of_lists_of_different_lengths_is_refused(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            compared("path", "ms", [1, 2], [1], "POST")


class TestAim:
    @pytest.mark.parametrize(("limit", "is_met"), [(1.9, False), (2.0, True), (2.1, True)])
    def test_aim_at_most_a_limit_is_met_up_to_the_limit(self, limit: float, is_met: bool) -> None:
        assert compared("path", "ms", [4, 4], [2, 2], "POST", Aim(limit, "ratio")).is_met is is_met

    @pytest.mark.parametrize(("limit", "is_met"), [(94.9, True), (95.0, True), (95.1, False)])
    def test_aim_at_least_a_limit_is_met_from_the_limit(self, limit: float, is_met: bool) -> None:
        assert measured("rate", "%", 95.0, aim=Aim(limit, at_least=True)).is_met is is_met

    def test_figure_without_an_aim_is_neither_met_nor_missed(self) -> None:
        assert measured("size", "kB", 1.0).is_met is None


class TestTable:
    def test_table_row_shows_the_comparison_and_whether_the_aim_is_met(self) -> None:
        aim = Aim(1.5, "ratio")
        figures = [
            compared("delivered", "ms", [6.0, 6.0], [4.0, 4.0], "bare POST", aim),
            compared("slow", "ms", [8.0, 8.0], [4.0, 4.0], "bare POST", aim),
            measured("size", "kB", 3202.4),
        ]
        _, title, head, _, good, bad, size, note = shown(
            Section("warm", "Warm path", figures, ("a note",))
        ).splitlines()
        assert title == "Warm path"
        assert head.split() == ["median", "quartiles", "against", "there", "ratio", "quartiles", "aim"]
        assert " ".join(good.split()) == "delivered 6.00 ms 6.00…6.00 bare POST 4.00 1.50 1.50…1.50 ≤ 1.5x met"
        assert bad.split()[-1] == "missed"
        assert size.split() == ["size", "3,202", "kB"]
        assert note.strip() == "a note"

    def test_benchmark_without_figures_shows_its_note(self) -> None:
        assert shown(Section("cold", "Cold start", [], ("left out",))).split() == ["Cold", "start", "left", "out"]

    @pytest.mark.parametrize(
        ("value", "text"), [(0, "0"), (0.0123, "0.012"), (0.5, "0.50"), (12.34, "12.3"), (1234.5, "1,234")]
    )
    def test_table_shows_significant_digits_only(self, value: float, text: str) -> None:
        assert tables.number(value) == text


def test_each_round_calls_everything_once_in_a_random_order() -> None:
    done: list[str] = []

    def deed(name: str) -> int:
        done.append(name)
        return len(done)

    found = interleaved({name: lambda name=name: deed(name) for name in "abc"}, 20)  # type: ignore[misc]
    rounds = ["".join(done[start : start + 3]) for start in range(0, 60, 3)]
    assert {"".join(sorted(each)) for each in rounds} == {"abc"}
    assert len(set(rounds)) > 1, "always in the same order"
    assert [len(values) for values in found.values()] == [20, 20, 20]
    assert done[found["b"][7] - 1] == "b"


class TestBodies:
    def test_body_is_a_share_with_the_requested_alerts(self) -> None:
        share = parse_share(bodies.body("i1", 30, age=60))
        assert (share.incident_id, share.status, len(share.alerts)) == ("i1", "critical", 30)
        assert parse_share(bodies.body("i1", 1, status="ok")).active is False

    def test_largest_body_is_just_below_the_relays_limit(self) -> None:
        assert bodies.LARGEST_BYTES * 0.999 < len(bodies.largest("i1")) <= bodies.LARGEST_BYTES < MAX_BODY_BYTES


class TestCapacity:
    def test_item_size_is_the_sum_of_its_names_and_values(self) -> None:
        # 18 digits are 9 bytes and one more; zeros at either end do not count.
        item: dict[str, dict[str, Any]] = {
            "pk": {"S": "gäte"},
            "other": {"N": "1800000000.12345678"},
            "at": {"N": "1800000000"},
            "n": {"N": "-120"},
        }
        assert capacity.item_bytes(item) == (2 + 5) + (5 + 10) + (2 + 2) + (1 + 3)

    def test_item_size_of_an_unknown_attribute_type_is_refused(self) -> None:
        with pytest.raises(NotImplementedError):
            capacity.item_bytes({"a": {"BOOL": True}})

    @pytest.mark.parametrize(("size", "units"), [(0, 1), (4096, 1), (4097, 2)])
    def test_read_units_are_one_for_each_4_kib_begun(self, size: int, units: int) -> None:
        assert capacity.read_units(size) == units

    @pytest.mark.parametrize(("before", "after", "units"), [(0, 0, 1), (0, 1024, 1), (1025, 10, 2), (10, 2049, 3)])
    def test_write_units_follow_the_larger_item_of_before_and_after(self, before: int, after: int, units: int) -> None:
        assert capacity.write_units(before, after) == units


class TestTraffic:
    def test_owed_share_makes_two_reads_three_writes_one_message_and_one_job(self) -> None:
        counted = traffic.counted(incidents=6)
        # Read, keep, claim, record, and the rate limit; then the kept job wakes, and reads that its state is announced.
        assert (counted.reads, counted.writes, counted.sends, counted.jobs) == (2, 3, 1, 1)
        # Shares within the cache's lifetime use one read of the secret.
        assert 0 < counted.secret_reads < 1


class TestCost:
    def test_each_line_of_the_bill_is_a_count_times_a_price(self) -> None:
        bill = cost.per_million(COUNTED, WEBHOOK, WORKER)
        assert bill["API Gateway requests"] == 3.5
        assert bill["DynamoDB writes"] == pytest.approx(4 * 0.625)
        assert bill["DynamoDB reads"] == pytest.approx(2 * 0.125)
        assert bill["SQS requests"] == pytest.approx(3 * 0.4)
        assert bill["Secrets Manager reads"] == pytest.approx(0.02 * 1e6 / 10_000 * 0.05)
        # 6 ms of a whole processor, of which 512 MB have 0.29; five calls of 5 ms; 200 ms for xMatters.
        seconds = 0.006 * 1769 / 512 + 0.025 + 0.2
        assert bill["Lambda, webhook time"] == pytest.approx(seconds * 0.5 * 0.0000133334 * 1e6)
        assert bill["Lambda, worker time"] == pytest.approx((0.002 * 1769 / 512 + 0.005) * 0.5 * 13.3334)

    def test_bill_for_logs_includes_the_bytes_that_aws_adds(self) -> None:
        quiet = cost.per_million(COUNTED, replace(WEBHOOK, log_bytes=0), replace(WORKER, log_bytes=0))
        bill = cost.per_million(COUNTED, WEBHOOK, WORKER)
        assert bill["CloudWatch Logs"] - quiet["CloudWatch Logs"] == pytest.approx(1900 * 1e6 / 1e9 * 0.5)
        assert quiet["CloudWatch Logs"] > 0.3
        silent = cost.per_million(COUNTED, WEBHOOK, replace(WORKER, log_bytes=0, log_lines=0))
        assert bill["CloudWatch Logs"] - silent["CloudWatch Logs"] == pytest.approx((900 + 2 * 26) * 1e6 / 1e9 * 0.5)

    def test_cost_table_shows_the_sum_and_judges_it_by_its_aim(self) -> None:
        section = cost.section(COUNTED, WEBHOOK, WORKER)
        total = next(figure for figure in section.figures if figure.name == "a million owed shares")
        lines = [figure.value.median for figure in section.figures[: section.figures.index(total)]]
        assert total.value.median == pytest.approx(sum(lines))
        assert total.is_met is (sum(lines) <= 10)
        text = " ".join(shown(section).split())
        assert prices.NOTED in text

    def test_alarm_that_is_off_by_default_is_not_counted_and_one_on_two_metrics_twice(self) -> None:
        template = (Path(__file__).parents[2] / "template.yaml").read_text()
        alarms = [
            each for each in yaml_parse(template)["Resources"].values() if each["Type"] == "AWS::CloudWatch::Alarm"
        ]
        on = [each["Properties"] for each in alarms if each.get("Condition") != "WatchesSilence"]
        assert len(on) == len(alarms) - 1
        watched = sum(
            len([1 for each in alarm.get("Metrics", [{"MetricStat": 1}]) if "MetricStat" in each]) for alarm in on
        )
        assert cost.alarm_metrics_by_default(template) == watched > len(on)

    def test_invocation_has_the_medians_of_the_measured_ones(self) -> None:
        spent = [Spent(1, cpu, 0, 0, Counter(GetItem=1, PutItem=2), 100, 2) for cpu in (0.001, 0.002, 0.9)]
        assert cost.Invocation.of(spent) == cost.Invocation(0.002, 3, 100, 2)


class TestMonth:
    def test_each_item_is_a_count_times_a_price(self) -> None:
        bill = month.bill(10.0, 40, month.Idle(10, 8, 2, 0, 1), month.Idle(3, 0, 0, 2, 0))
        assert bill["20,000 shares"] == pytest.approx(0.2)
        assert bill["40 metrics of alarms"] == pytest.approx(4)
        assert bill["5 secrets"] == pytest.approx(2)
        assert bill["polls of the workers' two queues"] == pytest.approx(2 * 15 * 60 * 24 * 30 * 0.4 / 1e6)
        units = (8 * 0.125 + 2 * 0.625 + 0.4) * 43_200 / 1e6
        assert units < bill["sweeper, every minute"] < units + 0.1
        assert bill["reconcile function, every five minutes"] > 8_640 * 2 * 5 / 1e6

    def test_idle_sweeper_reads_each_shard_once_writes_its_lease_twice_and_asks_one_queue(self) -> None:
        idle = month.idle_sweep()
        assert (idle.calls, idle.write_units, idle.queue_requests) == (2 * SHARDS + 4, 2, 1)

    def test_idle_reconcile_function_lists_the_secrets_and_reads_each_once(self) -> None:
        assert month.idle_plan() == month.Idle(month.CHANNELS + 1, 0, 0, month.CHANNELS + 1, 0)

    def test_metrics_that_are_written_in_every_hour_are_those_of_the_bill(self) -> None:
        assert len(ALWAYS) == month.HOURLY_METRICS

    def test_month_and_install_guide_have_the_same_price_of_a_channels_metrics(self) -> None:
        notes = " ".join(month.section(10.0, 40).notes)
        busy, most = (count * prices.METRIC for count in (month.CHANNEL_HOURLY_METRICS, len(CHANNEL_METRICS)))
        assert f"add ${month.CHANNELS * busy:.2f}" in notes
        guide = " ".join((Path(__file__).parents[2] / "docs/install.md").read_text().split())
        assert f"about ${busy:.2f} a month for a channel with traffic in every hour, ${most:.2f} at most" in guide

    def test_typical_month_keeps_to_its_aim(self) -> None:
        template = (Path(__file__).parents[2] / "template.yaml").read_text()
        section = month.section(10.0, cost.alarm_metrics_by_default(template))
        assert section.figures[-1].is_met


@pytest.fixture(scope="module")
def bills() -> dict[str, float]:
    """Cost of a day of a stranger's requests (dollars), by the kind of requests."""
    with contextlib.redirect_stdout(io.StringIO()):
        return stranger.bills()


class TestStranger:
    def test_install_guide_has_the_strangers_costs_that_the_benchmark_computes(self, bills: dict[str, float]) -> None:
        install = (Path(__file__).parents[2] / "docs/install.md").read_text()
        section = install.partition("### What a stranger can cost\n")[2].partition("\n### ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
        assert rows == stranger.table(bills)
        assert f"${prices.WAF_REQUESTS:.2f} a million requests" in section

    def test_install_guide_has_the_shares_and_refusals_that_a_reservation_of_twenty_admits(self) -> None:
        install = " ".join((Path(__file__).parents[2] / "docs/install.md").read_text().split())
        shares = 20 / stranger.share(stranger.SMALL).invocation.billed_seconds()
        refusals = 20 / stranger.refused().invocation.billed_seconds()
        assert "With 20, it takes about 400 small shares a second, or refuses about 2,900 requests a second." in install
        assert (round(shares, -2), round(refusals, -2)) == (400, 2900)

    def test_strangers_rate_is_the_templates_throttle_and_workers_are_its_default(self) -> None:
        template = yaml_parse((Path(__file__).parents[2] / "template.yaml").read_text())
        [setting] = template["Resources"]["Api"]["Properties"]["MethodSettings"]
        assert setting["ThrottlingRateLimit"] == stranger.REQUESTS_A_SECOND
        assert template["Parameters"]["WorkerConcurrency"]["Default"] == stranger.WORKERS

    def test_refusal_costs_no_call_of_aws_but_a_bounded_number_of_look_ups(self) -> None:
        found = stranger.refused()
        assert (found.counted.reads, found.counted.writes, found.counted.sends) == (0, 0, 0)
        assert 0 < found.counted.secret_reads < 0.01
        assert found.invocation.log_bytes > 100

    def test_forged_share_writes_its_entry_its_due_row_and_its_stored_job(self) -> None:
        found = stranger.share(stranger.SMALL).counted
        assert (found.reads, found.sends) == (1, 1)
        # Some shares also write the rate limit's item.
        assert 2 <= found.writes < 2.5
        assert found.write_units > found.writes + 1, "the index is written as well"

    def test_forged_job_that_wakes_is_written_and_sent_again(self) -> None:
        found = stranger.woken(stranger.SMALL).counted
        assert found.sends == 1
        assert 0 < found.writes < 2

    def test_writes_beyond_the_tables_quota_cost_nothing(self, bills: dict[str, float]) -> None:
        most = 40_000 * 86_400 * prices.DYNAMODB_WRITE_UNITS / 1e6
        assert most < bills["a channel's token, bodies of 256 KiB"] < most + 1000

    @pytest.mark.parametrize(("dollars", "text"), [(16.4, "$16"), (384.9, "$380"), (2949, "$2,900")])
    def test_strangers_dollars_are_rounded_to_two_digits(self, dollars: float, text: str) -> None:
        assert stranger.rounded(dollars) == text


class TestDrained:
    RUN = Drained([0.0, 1.0, 2.0, 60.0, 61.0, 120.0], [True, False, True, True, False, False])

    def test_drain_rate_counts_all_signals(self) -> None:
        assert self.RUN.rate == pytest.approx(100 * 6 / 2 / 60)

    def test_drain_counts_criticals_among_the_first_signals(self) -> None:
        assert self.RUN.critical_first == pytest.approx(100 * 2 / 3)
        assert self.RUN.last_critical == 60.0


def test_section_becomes_plain_data_without_empty_members() -> None:
    aimed = compared("  own", "ms", [1.0, 3.0], [1.0, 1.0], "POST", Aim(1.5, "ratio"))
    document = json.loads(json.dumps(plain(Section("warm", "Warm", [aimed, measured("size", "kB", 1.0)]))))
    own, size = document["figures"]
    assert own["name"] == "own"
    assert own["ratio"] == {"median": 2.0, "low": 1.5, "high": 2.5, "count": 2}
    assert own["is_met"] is False
    assert "is_met" not in size
    assert "ratio" not in size


def test_overview_of_the_package_names_every_module() -> None:
    modules = {path.stem for path in Path(bench.__file__).parent.glob("*.py")} - {"__init__", "__main__"}
    assert modules == set(re.findall(r"`([a-z_]+)`", bench.__doc__ or ""))

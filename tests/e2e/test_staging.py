"""`make staging` against the local cloud, and what it would deploy into an account and remove again."""

import subprocess
import sys

from sandbox import local
from sandbox.server.client import StandIn
from sandbox.steps import Steps
from tests import installed
from tools.staging import account
from tools.staging.__main__ import check, local_target
from tools.staging.report import Checked, Verdict, markdown
from tools.staging.target import CHANNEL, LocalXMatters

RUN_HERE = {
    *("requests to the api", "channel verbs", "runtime", "outage of xmatters", "dead letters"),
    *("tools of operators", "uninstallation"),
}


def test_each_check_holds_in_the_local_cloud_or_is_skipped_by_name(
    cloud: local.Local, xmatters: StandIn, quiet: Steps
) -> None:
    found = list[Checked]()
    target = local_target(cloud, LocalXMatters(xmatters))
    try:
        check(target, quiet, found)
    finally:
        target.relayctl("channel", "remove", CHANNEL, "--yes", "--drop-owed", codes=(0, 3))
    report = markdown("the local cloud", found, [], {})
    assert [each for each in found if each.verdict is Verdict.DIFFERS] == [], report
    assert {each.check.name for each in found if each.verdict is Verdict.HELD} == RUN_HERE, report
    assert len(found) == 15


def test_run_in_another_account_than_the_named_one_does_nothing(cloud: local.Local) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.staging", "--account", "123456789012"],
        cwd=account.ROOT,
        env=installed.environment(cloud.aws_endpoint_url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("of account 000000000000, and you named 123456789012: nothing was done\n")

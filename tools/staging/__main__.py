"""Check the relay in an AWS account that is named; write staging-report.md.

`make staging` calls this command line. Nothing of it has run on AWS yet.
"""

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from sandbox import interrupts
from sandbox.errors import SandboxError
from sandbox.steps import Steps
from tools.staging import account
from tools.staging.checks import CHECKS
from tools.staging.report import Checked, Verdict, markdown
from tools.staging.target import Target

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "staging-report.md"


def main() -> int:
    """Run one command; return 0 (nothing differs), 1 (something differs, failed or stayed) or 130 (Ctrl-C)."""
    parser = argparse.ArgumentParser(prog="python -m tools.staging", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--account", metavar="ID", required=True, help="the AWS account that the credentials are of")
    parser.add_argument("--remove", action="store_true", help="only remove what earlier runs left in the account")
    arguments = parser.parse_args()
    steps = Steps("staging", Console(stderr=True))
    interrupts.install()
    try:
        session = boto3.Session()
        clients: account.Clients = session.client  # type: ignore[assignment]
        account.confirm(clients, arguments.account)
        return _remove(clients, steps) if arguments.remove else _run_on_aws(session, clients, arguments.account, steps)
    except (SandboxError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"staging: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("staging: stopped\n")
        return 130
    finally:
        interrupts.settle()


def _run_on_aws(session: boto3.Session, clients: account.Clients, account_id: str, steps: Steps) -> int:
    if remains := account.left(clients):
        command = f"make staging ACCOUNT={account_id} REMOVE=1"
        raise SandboxError(f"an earlier run left this, or still runs; `{command}` removes it: {', '.join(remains)}")
    region = session.region_name or ""
    environment = {**os.environ, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    found, stays = list[Checked](), list[str]()
    with TemporaryDirectory() as folder:
        try:
            with steps.step("deploying the release and the stand-in of xMatters"):
                made = account.Deployment(session, environment, ROOT / "dist", Path(folder))
            stays = made.stays
            _check(Target(made.stack, environment, session, made.xmatters, made.change), steps, found)
        finally:
            code = _remove(clients, steps)
            if found:
                REPORT.write_text(markdown(region, found, account.left(clients) + stays), "utf-8")
                steps.say(f"the report is in {REPORT}")
    return int(code or any(each.verdict is Verdict.DIFFERS for each in found))


def _check(target: Target, steps: Steps, found: list[Checked]) -> None:
    """Set up the channel, run all checks, and add each to `found`."""
    with steps.step("setting up the channel"):
        target.set_channel()
    for number, each in enumerate(CHECKS, start=1):
        with steps.step(f"{number}. {each.name}"):
            found.append(each.checked(target))
        steps.say(f"{each.name}: {found[-1].verdict}")


def _remove(clients: account.Clients, steps: Steps) -> int:
    with steps.step("removing everything"):
        account.remove(clients)
    for each in (remains := account.left(clients)):
        steps.say(f"left behind: {each}")
    return int(bool(remains))


if __name__ == "__main__":
    sys.exit(main())

"""A stack that is deleted and made anew by the documented commands finds its table, queues and topic again."""

import re
import shlex
import time
from pathlib import Path

import pytest

from relay.incidents.share import State
from relay.ledger.entry import Entry
from relay.ledger.table import Ledger, Table
from sandbox import local
from sandbox.cloud import emulator, stack
from sandbox.cloud.deployment import client
from tests import installed, samples

GUIDE = (Path(__file__).resolve().parents[2] / "docs/adopt.md").read_text()
KEPT = ("LedgerTableName", "RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl", "FallbackTopicArn")
ENTRY = "incident/payments//1"


@pytest.fixture
def endpoint_url(own_places: local.Places) -> str:
    return emulator.start(own_places.cloud).endpoint_url


def test_stack_made_anew_by_the_guide_has_the_entries_and_messages_of_the_deleted_one(
    endpoint_url: str, downloads: Path, tmp_path: Path
) -> None:
    installed.stack(downloads, tmp_path / "first", endpoint_url)
    before = _kept(endpoint_url)
    entry = Entry().owing(State.of(samples.share(), time.time()))
    sqs = client(endpoint_url, "sqs")
    _ledger(endpoint_url, before).write(ENTRY, Entry(), entry)
    sqs.send_message(QueueUrl=before["DeadLetterQueueUrl"], MessageBody="a dead-lettered job")
    cloudformation = client(endpoint_url, "cloudformation")
    cloudformation.delete_stack(StackName=stack.STACK_NAME)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack.STACK_NAME, WaiterConfig={"Delay": 1})

    adopt(next((tmp_path / "first").iterdir()), before, endpoint_url)
    installed.stack(downloads, tmp_path / "second", endpoint_url)

    after = _kept(endpoint_url)
    assert after == before
    assert _ledger(endpoint_url, after).read(ENTRY).newest == entry.newest
    [message] = sqs.receive_message(QueueUrl=after["DeadLetterQueueUrl"])["Messages"]
    assert message["Body"] == "a dead-lettered job"


def adopt(release: Path, names: dict[str, str], endpoint_url: str) -> None:
    """Import what stayed into a new stack, by the guide's file and commands; `release` is the unpacked release."""
    section = GUIDE.partition("\n### A stack that was deleted\n")[2].partition("\n## ")[0]
    for name, value in names.items():
        section = section.replace(f"<{name}>", value)
    [file] = re.findall(r"^```json\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    (release / "kept.json").write_text(file)
    commands = re.findall(r"^    aws ((?:.*\\\n)*.*)", section, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        words = shlex.split(command.replace("\\\n", ""))
        if "--parameters" in words:
            words.append("ParameterKey=Profile,ParameterValue=local")
        environment = installed.environment(endpoint_url)
        installed.run(installed.INSTALLERS / "aws", *words, folder=release, environment=environment)


def _kept(endpoint_url: str) -> dict[str, str]:
    found = stack.outputs(endpoint_url)
    return {name: found[name] for name in KEPT}


def _ledger(endpoint_url: str, outputs: dict[str, str]) -> Ledger:
    return Ledger(Table(client(endpoint_url, "dynamodb"), outputs["LedgerTableName"], time.time))

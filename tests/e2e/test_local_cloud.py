"""The driver of the local cloud: its processes, its stack.json, and its clean end."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from rich.console import Console

from sandbox import local, processes
from sandbox.cloud import emulator, relayctl, stack
from sandbox.environment import REGION
from sandbox.errors import SandboxError
from sandbox.server.client import StandIn
from sandbox.steps import Steps
from tests.e2e.channels import HEADERS
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


def test_stack_json_has_all_urls_and_outputs(cloud: local.Local, places: local.Places) -> None:
    written = json.loads(places.stack_file.read_text())
    assert written == asdict(cloud)
    assert set(written["outputs"]) >= {
        "ApiId",
        "BigPandaWebhookUrl",
        "DeadLetterQueueUrl",
        "SecretPrefix",
        "JobWorkerFunction",
        "ChoreQueueUrl",
        "ChoreWorkerFunction",
        "SweeperFunction",
    }
    assert written["region"] == "us-east-1"
    assert written["stack_name"] == "bigpanda-xmatters-relay"
    assert written["outputs"]["BigPandaWebhookUrl"] == f"{written['api_url']}/bigpanda/{{channel}}"
    assert written["outputs"]["XMattersCallbackUrl"] == f"{written['api_url']}/xmatters/{{channel}}"


def test_api_and_queue_answer_at_the_urls_of_stack_json(cloud: local.Local) -> None:
    answer = requests.post(f"{cloud.api_url}/bigpanda/no-such-channel", json={}, timeout=30)
    assert answer.status_code == 401
    queue = boto3.client("sqs", region_name=REGION, endpoint_url=cloud.aws_endpoint_url)
    attributes = queue.get_queue_attributes(QueueUrl=cloud.outputs["DeadLetterQueueUrl"], AttributeNames=["QueueArn"])
    assert "DeadLetterQueue" in attributes["Attributes"]["QueueArn"]


def test_local_cloud_has_the_queues_of_the_stacks_outputs_alone(cloud: local.Local) -> None:
    sqs = boto3.client("sqs", region_name=REGION, endpoint_url=cloud.aws_endpoint_url)
    assert set(sqs.list_queues()["QueueUrls"]) == {url for name, url in cloud.outputs.items() if "Queue" in name}


def test_demo_channel_points_at_the_stand_ins(cloud: local.Local) -> None:
    secrets = boto3.client("secretsmanager", region_name=REGION, endpoint_url=cloud.aws_endpoint_url)
    name = f"{cloud.outputs['SecretPrefix']}/demo"
    secret = json.loads(secrets.get_secret_value(SecretId=name)["SecretString"])
    assert secret["xmatters"]["trigger_url"].startswith(f"{cloud.xmatters_url}/api/integration/1/functions/")
    assert secret["inbound"] == {"token": local.INBOUND_TOKEN}
    assert secret["xmatters"]["callback"]["token"] == local.CALLBACK_TOKEN
    assert secret["bigpanda"]["base_url"] == cloud.bigpanda_url


def test_acknowledgement_on_a_phone_becomes_a_comment_and_assigns_the_incident(
    cloud: local.Local, xmatters: StandIn
) -> None:
    incident_id = xmatters.open_incident(title="Replica lag", status="warning")["id"]
    until(lambda: bool(_ringing(xmatters, incident_id)))
    assert {each["person"] for each in _ringing(xmatters, incident_id)} == {"jdoe"}
    xmatters.answer(_ringing(xmatters, incident_id)[0]["id"], "Acknowledge", "on it")
    until(lambda: len(xmatters.comments(incident_id)) == 1)
    assert "acknowledged xMatters page" in xmatters.comments(incident_id)[0]["document"]["comment"]
    assert len(xmatters.assignments(incident_id)) == 1
    # BigPanda shares the incident again for the comment: a duplicate, if that is in the same second.
    until(lambda: len(_webhooks(xmatters, incident_id)) == 2)
    assert {each["outcome"] for each in _webhooks(xmatters, incident_id)[1:]} <= {"unchanged", "duplicate"}
    assert [each["status"] for each in xmatters.events(incident_id)] == ["TERMINATED"]


def test_incident_of_the_network_team_rings_its_person_alone(cloud: local.Local, xmatters: StandIn) -> None:
    alert = {"description": "Packet loss", "tags": [{"name": "team", "value": "network"}]}
    incident_id = xmatters.open_incident(title="Packet loss", alerts=[alert])["id"]
    until(lambda: bool(_ringing(xmatters, incident_id)))
    assert {each["person"] for each in _ringing(xmatters, incident_id)} == {"lchen"}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux shows sockets as a file")
def test_local_cloud_listens_on_loopback_only(cloud: local.Local) -> None:
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if " 0A " in line]
    for url in (cloud.aws_endpoint_url, cloud.sandbox_url, cloud.xmatters_url, cloud.bigpanda_url):
        port = f"{urlsplit(url).port:04X}"
        assert [address for address in listening if address.endswith(f":{port}")] == [f"0100007F:{port}"]


def test_second_local_up_keeps_the_running_cloud_and_its_channel(cloud: local.Local, places: local.Places) -> None:
    secrets = boto3.client("secretsmanager", region_name=REGION, endpoint_url=cloud.aws_endpoint_url)
    name = f"{cloud.outputs['SecretPrefix']}/demo"
    before = secrets.get_secret_value(SecretId=name)["VersionId"]
    heard = io.StringIO()
    assert local.up(places, Steps("local", Console(file=heard))) == cloud
    assert "already running" in heard.getvalue()
    assert secrets.get_secret_value(SecretId=name)["VersionId"] == before


def test_changed_source_is_deployed_into_the_running_cloud_by_the_next_local_up(
    cloud: local.Local, places: local.Places
) -> None:
    deployed = places.deployed_file.read_text()
    assert deployed == places.workshop.fingerprint()
    places.deployed_file.write_text("older sources")
    heard = io.StringIO()
    assert local.up(places, Steps("local", Console(file=heard))) == cloud
    assert "deploying what changed" in heard.getvalue()
    assert places.deployed_file.read_text() == deployed


def test_fingerprint_changes_with_a_source_and_not_with_compiled_files(tmp_path: Path) -> None:
    source = tmp_path / "functions" / "webhook" / "app.py"
    source.parent.mkdir(parents=True)
    source.write_text("one = 1")
    shop = stack.Workshop(tmp_path, tmp_path / "build", tmp_path / "state")
    before = shop.fingerprint()
    (source.parent / "app.pyc").write_text("compiled")
    assert shop.fingerprint() == before
    source.write_text("two = 2")
    assert shop.fingerprint() != before


def test_concurrent_local_cloud_command_is_refused(own_places: local.Places, quiet: Steps) -> None:
    with local.alone(own_places.folder), pytest.raises(SandboxError, match="another command is at work"):
        local.up(own_places, quiet)


def test_local_up_after_a_kill_starts_anew_and_makes_a_removed_channel_again_and_local_down_leaves_no_process(
    built_places: local.Places, quiet: Steps
) -> None:
    first = local.up(built_places, quiet)
    # An invoked function leaves a worker process of the cloud.
    requests.post(f"{first.api_url}/bigpanda/demo", json={}, timeout=30)
    os.kill(first.pids["xmatters"], signal.SIGKILL)
    second = local.up(built_places, quiet)
    assert set(first.pids.values()).isdisjoint(second.pids.values())
    relayctl.run(second.aws_endpoint_url, ["channel", "remove", "demo", "--yes"])
    assert local.up(built_places, quiet) == second
    assert requests.post(f"{second.api_url}/bigpanda/demo", json={}, headers=HEADERS, timeout=30).status_code == 400
    assert local.down(built_places) is True
    for pid in (*first.pids.values(), *second.pids.values()):
        _until_gone(pid)
    assert [each.name for each in built_places.folder.iterdir()] == ["build"]
    assert local.down(built_places) is False


def test_interrupted_local_up_stops_its_processes(own_places: local.Places) -> None:
    command = [sys.executable, "-m", "sandbox", "--state", str(own_places.folder), "up"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as child:
        until((own_places.folder / "sam-build.log").exists)
        its_cloud = processes.recorded(own_places.cloud / "process.json")
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "nothing that it started is left running" in said
    assert its_cloud
    _until_gone(its_cloud.pid)
    assert not own_places.cloud.exists()
    assert not own_places.stack_file.exists()


def test_failed_build_of_the_stack_shows_the_end_of_its_log(own_places: local.Places, tmp_path: Path) -> None:
    for name in (".venv", ".venv-sam", "samconfig.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "template.yaml").write_text("Resources: {F: {Type: AWS::Serverless::Function}}")
    with pytest.raises(SandboxError, match=r"sam build failed \(exit code 1\)(.|\n)*Error"):
        stack.build(stack.Workshop(tmp_path, tmp_path / "build", tmp_path / "state"))


def test_build_in_a_clone_without_setup_names_make_setup(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="`make setup` installs it"):
        stack.build(stack.Workshop(tmp_path, tmp_path / "build", tmp_path / "state"))


def test_emulator_that_answers_with_another_token_is_not_taken_for_ours(tmp_path: Path) -> None:
    with emulator.started(tmp_path / "one") as one:
        process = emulator.running(tmp_path / "one")
        assert process == one
        shutil.copytree(tmp_path / "one", tmp_path / "two", ignore=shutil.ignore_patterns("tmp"))
        (tmp_path / "two" / "address").write_text(f"{one.endpoint_url} another-token")
        assert emulator.running(tmp_path / "two") is None
    assert emulator.running(tmp_path / "one") is None
    # A child that was killed with the emulator may hold the socket a moment longer.
    until(lambda: _refuses(urlsplit(one.endpoint_url).port or 0))


def _ringing(xmatters: StandIn, incident_id: str) -> list[dict[str, Any]]:
    said = xmatters.phones()["notifications"]
    return [each for each in said if each["incident_id"] == incident_id and each["responses"]]


def _webhooks(xmatters: StandIn, incident_id: str) -> list[dict[str, Any]]:
    return [each for each in xmatters.live()["webhooks"] if each["incident_id"] == incident_id]


def _refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _until_gone(group: int) -> None:
    until(lambda: group not in _groups())


def _groups() -> set[int]:
    shown = subprocess.run(["ps", "-A", "-o", "stat=,pgid="], capture_output=True, text=True, check=True).stdout
    # A killed worker stays listed as a zombie (Z) until the machine's first process reaps it.
    return {int(line.split()[1]) for line in shown.splitlines() if not line.startswith("Z")}

"""The running local cloud: its stack.json, its demo channel, and the next local-up."""

import io
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from sandbox import local
from sandbox.steps import Steps


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux shows sockets as a file")
def test_local_cloud_listens_on_loopback_only(cloud: local.Local) -> None:
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if " 0A " in line]
    for url in (cloud.aws_endpoint_url, cloud.sandbox_url, cloud.xmatters_url, cloud.bigpanda_url):
        port = f"{urlsplit(url).port:04X}"
        assert [address for address in listening if address.endswith(f":{port}")] == [f"0100007F:{port}"]


def test_next_local_up_keeps_the_running_cloud_and_its_channel_and_deploys_what_changed(
    cloud: local.Local, places: local.Places
) -> None:
    secrets = cloud.client("secretsmanager")
    name = f"{cloud.outputs['SecretPrefix']}/demo"
    before = secrets.get_secret_value(SecretId=name)["VersionId"]
    heard = io.StringIO()
    assert local.up(places, Steps("local", Console(file=heard))) == cloud
    assert "already running" in heard.getvalue()
    assert secrets.get_secret_value(SecretId=name)["VersionId"] == before
    deployed = places.deployed_file.read_text()
    assert deployed == places.workshop.fingerprint()
    places.deployed_file.write_text("older sources")
    heard = io.StringIO()
    assert local.up(places, Steps("local", Console(file=heard))) == cloud
    assert "deploying what changed" in heard.getvalue()
    assert places.deployed_file.read_text() == deployed

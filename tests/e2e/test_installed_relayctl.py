"""The installed relayctl: its wheel has every module, and it runs where nothing of the clone is."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.version import VERSION
from sandbox import local
from sandbox.server.client import StandIn
from tests import installed
from tests.e2e import channels
from tests.e2e.relayctl_operator import Operator

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"relay": ROOT / "layers/relay/relay", "relayctl": ROOT / "relayctl"}
# Runs the help of each verb, and then each command line of the standard input; prints the verbs and the results.
_RUNS = """
import json, sys
from click import Context, Group
from click.testing import CliRunner
from relayctl.__main__ import main

def walk(command, way):
    if isinstance(command, Group):
        context = Context(command)
        for name in command.list_commands(context):
            yield from walk(command.get_command(context, name), [*way, name])
    else:
        assert CliRunner().invoke(main, [*way, "--help"]).exit_code == 0
        yield " ".join(way)

def run(words):
    done = CliRunner().invoke(main, words.split())
    return [done.exit_code, done.output]

print(json.dumps([list(walk(main, [])), {words: run(words) for words in json.load(sys.stdin)}]))
"""


def test_wheel_has_the_files_of_the_source_tree_and_no_others(downloads: Path) -> None:
    [wheel] = downloads.glob("*.whl")
    sources = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in SOURCES.items()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == sources


def test_pip_refuses_the_wheel_for_an_older_python_and_names_the_one_it_needs(downloads: Path, tmp_path: Path) -> None:
    [wheel] = downloads.glob("*.whl")
    older = ("--python-version", "3.12", "--only-binary=:all:", "--no-deps", "--no-index")
    command = [sys.executable, "-m", "pip", "download", *older, "--dest", str(tmp_path), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "requires a different Python: 3.12.0 not in '>=3.13'" in done.stderr


@pytest.mark.parametrize("install", [installed.with_pipx, installed.with_uv])
def test_relayctl_that_pipx_or_uv_installed_runs_and_completes(
    install: Callable[[Path, Path], Path], cloud: local.Local, downloads: Path
) -> None:
    program = install(downloads, downloads.parent / install.__name__)
    environment = installed.environment(cloud.aws_endpoint_url)

    def said(*arguments: str, **settings: str) -> str:
        return installed.run(program, *arguments, folder=program.parent, environment=environment | settings).stdout

    assert said("--version") == f"relayctl, version {VERSION}\n"
    assert f'"channel": "{local.CHANNEL}"' in said("channel", "list", "--json")
    verbs = {"_RELAYCTL_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    assert "plain,show" in said(COMP_WORDS="relayctl channel sh", **verbs)


def test_each_verb_of_the_installed_program_runs(
    cloud: local.Local, xmatters: StandIn, relayctl: Path, tmp_path: Path
) -> None:
    operator = Operator(channels.made(cloud, xmatters), relayctl)
    name, (incident_id,) = operator.channel.name, operator.jobs(1)
    [job] = operator.run_json("dlq", "list")["messages"]
    (tmp_path / "share.json").write_bytes(b'{"incident": {"id": "i1", "status": "critical"}}')
    settings, jobs = str(tmp_path / "channels"), str(tmp_path / "jobs.jsonl")
    runs = {
        f"channel set {name} --set policy.max_per_minute=900": 0,
        f"channel undo {name} --yes": 0,
        f"channel show {name}": 0,
        "channel list": 0,
        f"channel test {name}": 0,
        f"channel rotate {name} inbound": 0,
        f"channel revoke {name} --endpoint inbound --yes": 0,
        f"channel pause {name} --until 2h --keep": 0,
        f"channel resume {name}": 0,
        f"channel export {settings} --channel {name}": 0,
        f"channel plan {settings}": 0,
        f"channel apply {settings} --yes": 0,
        f"bigpanda webhook {name}": 0,
        f"explain {tmp_path}/share.json --channel {name}": 0,
        "rehearse --environment 5f3c1a2b9d8e7f6a5b4c3d2e": 2,
        "report": 0,
        f"shadow report {name}": 3,
        "status": 0,
        "doctor": 0,
        "policy doctor": 0,
        "fallback test --yes": 0,
        "dlq list": 0,
        f"dlq show {job['delivery_id']}": 0,
        f"incident show {incident_id}": 0,
        "incident list": 3,
        f"dlq export {jobs}": 0,
        f"dlq drop --incident {incident_id} --reason old --yes": 0,
        f"dlq import {jobs}": 0,
        f"dlq replay --channel {name} --yes": 0,
        "uninstall": 1,
        f"channel remove {name} --yes": 0,
    }
    done = subprocess.run(
        [relayctl.with_name("python"), "-c", _RUNS],
        cwd=relayctl.parent,
        env=installed.environment(operator.cloud.aws_endpoint_url),
        input=json.dumps([*runs]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    verbs, results = json.loads(done.stdout)
    # A channel of another test may be sick, which ends doctor with 1.
    wrong = {
        words: results[words] for words, code in runs.items() if results[words][0] not in {code, int(words == "doctor")}
    }
    assert wrong == {}
    assert [verb for verb in verbs if not any(words.startswith(verb) for words in runs)] == []

"""The installed relayctl: its wheel has every module, and each verb runs where nothing of the clone is."""

import subprocess
import zipfile
from pathlib import Path

from sandbox import local
from sandbox.server.client import StandIn
from tests.e2e import channels
from tests.e2e.relayctl_operator import SECONDS, Operator
from tests.installed import SOURCES

# Prints each verb, and runs its help.
_HELP = """
import sys
from click import Context, Group
from click.testing import CliRunner
from relayctl.__main__ import main

def walk(command, way):
    if isinstance(command, Group):
        context = Context(command)
        for name in command.list_commands(context):
            walk(command.get_command(context, name), [*way, name])
    else:
        assert CliRunner().invoke(main, [*way, "--help"]).exit_code == 0
        print(*way)

walk(main, [])
"""


def test_wheel_has_the_files_of_the_source_tree_and_no_others(wheel: Path) -> None:
    sources = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in SOURCES.items()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == sources


def verbs(relayctl: Path) -> list[str]:
    """Return all verbs of the installed program, after a run of the help of each."""
    python = relayctl.with_name("python")
    done = subprocess.run([python, "-c", _HELP], cwd=relayctl.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


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
        f"shadow report {name}": 3,
        "status": 0,
        "doctor": 0,
        "policy doctor": 0,
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
    wrong = []
    for words, code in runs.items():
        with operator.start(*words.split()) as child:
            out, err = child.communicate(timeout=SECONDS)
        # A channel of another test may be sick, which ends doctor with 1.
        if child.returncode not in {code, int(words == "doctor")} or "Traceback" in err:
            wrong.append(f"{words}: {child.returncode} {out} {err}")
    assert not wrong, "\n".join(wrong)
    assert [verb for verb in verbs(relayctl) if not any(words.startswith(verb) for words in runs)] == []

"""The installed relayctl: its wheel has every module, and it runs where nothing of the clone is."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from relay.version import VERSION
from sandbox import local
from tests import installed

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"relay": ROOT / "layers/relay/relay", "relayctl": ROOT / "relayctl"}
# Runs the help of each verb, for which all of the verb's modules are imported; prints the verbs.
_HELPS = """
from click import Context, Group
from click.testing import CliRunner
from relayctl.__main__ import main

def walk(command, way):
    if isinstance(command, Group):
        context = Context(command)
        for name in command.list_commands(context):
            walk(command.get_command(context, name), [*way, name])
    else:
        done = CliRunner().invoke(main, [*way, "--help"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        print(*way)

walk(main, [])
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


def test_each_verb_of_the_installed_program_has_its_modules_and_packages(relayctl: Path) -> None:
    python = relayctl.with_name("python")
    verbs = installed.run(python, "-c", _HELPS, folder=relayctl.parent, environment={}).stdout.splitlines()
    assert {"dlq replay", "incident show", "rehearse"} <= {*verbs}

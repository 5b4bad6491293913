"""Loading of the built functions: from bytecode alone, without modules that Lambda lacks, and without slow modules."""

import json
import shutil
from pathlib import Path

import pytest

from tests.artefact.builds import FUNCTIONS, ROOT, Build
from tests.artefact.runtime_api import Deployed, loaded

ENDPOINTS = ("BigPandaWebhookFunction", "XMattersCallbackFunction")
# Unneeded modules, most of which add tens of milliseconds to every cold start; most channels have no routes.
SLOW = ("aws_xray_sdk", "pydantic", "aws_lambda_powertools.event_handler", "asyncio", "relay.channels.routes")
MODULES = (
    "import json, sys, app; print(json.dumps({name: getattr(m, '__file__', None) for name, m in sys.modules.items()}))"
)


@pytest.fixture(scope="module", params=FUNCTIONS)
def function(request: pytest.FixtureRequest, built: Build) -> Deployed:
    """Each function in turn."""
    return built.isolated(request.param)


@pytest.fixture(scope="module")
def modules(function: Deployed) -> dict[str, str | None]:
    """The modules that are loaded after the handler's import, each with its file."""
    last_line = function.run(MODULES).splitlines()[-1]
    return dict(json.loads(last_line))


def test_functions_import_no_slow_modules(
    modules: dict[str, str | None],
) -> None:
    assert "relay.entrypoints.bootstrap" in modules
    assert [name for name in SLOW if name in modules] == []


def test_functions_import_only_modules_of_the_artefact_or_of_lambda(
    function: Deployed, modules: dict[str, str | None]
) -> None:
    files = {name: Path(file) for name, file in modules.items() if file}
    ours = {name: file for name, file in files.items() if name.split(".")[0] in {"app", "relay"}}
    assert all(file.is_relative_to(function.code) or file.is_relative_to(function.layers[1]) for file in ours.values())
    clone = [name for name, file in files.items() if file.is_relative_to(ROOT / ".venv")]
    assert clone == [], "the project's own environment must not help out"


def test_functions_load_from_bytecode_without_reading_sources(built: Build, workplace: Path, tmp_path: Path) -> None:
    """Load the functions with every source replaced by one that raises."""
    copy = Build(workplace / "without sources")
    shutil.copytree(built.folder, copy.folder)
    for source in copy.folder.rglob("*.py"):
        source.write_text("raise AssertionError('this source was read')\n")
    for name in FUNCTIONS:
        with loaded(copy.isolated(name), tmp_path / "log") as function:
            assert name not in ENDPOINTS or function.invoke({})["statusCode"] == 401

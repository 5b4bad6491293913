"""Installation of pinned npm packages: done once, and a registry that cannot be reached is no error of the project."""

import hashlib
from pathlib import Path

import pytest

from sandbox.server.in_process import running
from tools import npm_packages
from tools.npm_packages import NpmError, UnreachableError, install

PINNED = Path(__file__).resolve().parents[2] / "requirements/xmtoolbox"


@pytest.fixture(autouse=True)
def _no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a registry that refuses connections: no test of this module may download anything."""
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retry_mintimeout", "1")


def test_packages_that_are_installed_already_are_not_downloaded(tmp_path: Path) -> None:
    lock = (PINNED / "package-lock.json").read_bytes()
    (tmp_path / ".done").write_text(hashlib.sha256(lock).hexdigest())
    assert install(PINNED, tmp_path) == tmp_path / "node_modules"


def test_registry_that_refuses_connections_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "into/.done").write_text("packages of another lock file")
    with pytest.raises(UnreachableError, match="cannot be reached"):
        install(PINNED, tmp_path / "into", tmp_path / "cache")
    assert not (tmp_path / "into/.done").exists()


def test_registry_whose_certificate_is_not_trusted_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(is_https=True) as box:
        monkeypatch.setenv("npm_config_registry", box.xmatters_url)
        with pytest.raises(UnreachableError, match="cannot be reached"):
            install(PINNED, tmp_path / "into", tmp_path / "cache")


def test_unreachable_registry_has_an_exit_code_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["npm_packages", str(PINNED), str(tmp_path / "into")])
    assert npm_packages.main() == npm_packages.UNREACHABLE
    assert capsys.readouterr().err.startswith("setup: the npm registry cannot be reached")


def test_failure_without_a_cause_in_the_network_is_an_error_of_the_project(tmp_path: Path) -> None:
    folder = tmp_path / "pinned"
    folder.mkdir()
    (folder / "package-lock.json").write_bytes((PINNED / "package-lock.json").read_bytes())
    (folder / "package.json").write_text("{")
    with pytest.raises(NpmError, match="EJSONPARSE"):
        install(folder, tmp_path / "into", tmp_path / "cache")

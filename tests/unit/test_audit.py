"""`make audit`: its results and exit codes, also if the vulnerability index is unreachable."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.audit import FAILED, FOUND, NOT_CHECKED, main, pinned_files

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {"name": "requests", "version": "2.34.2", "vulns": []}
VULNERABLE = {"name": "urllib3", "version": "2.8.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.8.1"]}]}
UNKNOWN = {"name": "idna", "skip_reason": "Dependency not found and could not be audited: idna (3.20)"}
TRACEBACK = """Traceback (most recent call last):
  File "sessions.py", line 784, in send
requests.exceptions.ProxyError: HTTPSConnectionPool(host='index.example'): Max retries exceeded with url: /secret"""


def answering(*packages: dict[str, Any]) -> Any:
    code = int(any(each.get("vulns") for each in packages))
    return lambda _: subprocess.CompletedProcess([], code, json.dumps({"dependencies": packages, "fixes": []}), "")


def failing(stderr: str, stdout: str = "") -> Any:
    return lambda _: subprocess.CompletedProcess([], 1, stdout, stderr)


def test_audit_without_a_vulnerability_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([Path("a.txt"), Path("b.txt")], answering(CLEAN)) == 0
    assert capsys.readouterr() == ("audit: 2 pinned packages, no known vulnerability\n", "")


def test_audit_prints_a_line_for_each_vulnerability_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([Path("a.txt")], answering(CLEAN, VULNERABLE, UNKNOWN)) == FOUND == 1
    said = capsys.readouterr()
    assert said.out == "a.txt: urllib3 2.8.0: PYSEC-1, fixed in 2.8.1\n"
    assert said.err == "audit: not checked: the vulnerability index does not know 1 packages: idna\n"


def test_audit_prints_one_line_and_exits_with_69_if_the_index_cannot_be_reached(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([Path("a.txt"), Path("b.txt")], failing(TRACEBACK)) == NOT_CHECKED == 69
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "audit: not checked: the vulnerability index can't be reached (ProxyError)\n")


def test_audit_exits_with_69_if_the_index_does_not_answer_in_time(capsys: pytest.CaptureFixture[str]) -> None:
    def hang(_: Path) -> Any:
        raise subprocess.TimeoutExpired("pip-audit", 600)

    assert main([Path("a.txt")], hang) == NOT_CHECKED
    assert capsys.readouterr().err == "audit: not checked: the vulnerability index did not answer in time\n"


def test_audit_exits_with_69_if_the_mirror_knows_no_vulnerabilities(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([Path("a.txt")], answering(UNKNOWN)) == NOT_CHECKED
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "audit: not checked: the vulnerability index does not know 1 packages: idna\n",
    )


@pytest.mark.parametrize(
    "run", [failing("ValueError: no hash in line 3"), failing("", "not JSON"), failing("", '{"other": 1}')]
)
def test_audit_prints_a_failure_of_pip_audit_as_one_line(capsys: pytest.CaptureFixture[str], run: Any) -> None:
    assert main([Path("a.txt")], run) == FAILED
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_audit_without_pip_audit_says_what_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    def missing(_: Path) -> Any:
        raise FileNotFoundError(2, "No such file or directory")

    assert main([Path("a.txt")], missing) == FAILED
    assert "run 'make checks'" in capsys.readouterr().err


def test_audit_reads_every_file_of_pinned_packages() -> None:
    names = [str(path.relative_to(ROOT)) for path in pinned_files(ROOT)]
    assert names[0] == "layers/dependencies/requirements.txt"
    assert set(names) >= {
        f"requirements/{name}.txt" for name in ("relayctl", "dev", "sam", "lambda", "audit", "scanners")
    }

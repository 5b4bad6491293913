"""Look up the pinned packages in a vulnerability index with pip-audit: `make audit`.

Exit codes: 0 no known vulnerability; 1 vulnerabilities found; 70 pip-audit failed; 69 not all packages checked: the
index could not be reached, or did not know a package.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PIP_AUDIT = ROOT / ".venv-audit/bin/pip-audit"
FOUND, NOT_CHECKED, FAILED = 1, 69, 70
# Well above the half minute that a file of 120 packages takes.
_SECONDS = 600
_UNREACHABLE = re.compile(r"connect|proxy|resol|timed? ?out|max retries|unreachable|ssl", re.IGNORECASE)

type Run = Callable[[Path], subprocess.CompletedProcess[str]]


class AuditError(Exception):
    """pip-audit gave no report; `code` is the exit code of `make audit`."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Report:
    """Results of pip-audit for some files.

    Attributes:
        checked: Number of packages that the index knew.
        found: A line for each vulnerability.
        unknown: Packages that the index did not know.
    """

    checked: int = 0
    found: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def pinned_files(root: Path) -> list[Path]:
    """Return every file of pinned packages; those that run in Lambda come first."""
    layers, others = sorted(root.glob("layers/*/requirements.txt")), sorted(root.glob("requirements/*.txt"))
    return [*layers, *others, *sorted(root.glob("bench/requirements*.txt"))]


def run_pip_audit(requirements: Path) -> subprocess.CompletedProcess[str]:
    """Run pip-audit on a file of pinned packages, without installing any."""
    command = [str(PIP_AUDIT), "--progress-spinner=off", "--format=json", "--disable-pip", "--require-hashes"]
    return subprocess.run(
        [*command, "--requirement", str(requirements)], capture_output=True, text=True, timeout=_SECONDS, check=False
    )


def audit(files: Sequence[Path], run: Run) -> Report:
    """Audit the files one after the other. Raises AuditError for the first file without a report."""
    report = Report()
    for path in files:
        for package in _packages(path, run):
            name, version = package["name"], package.get("version", "")
            if "skip_reason" in package:
                report.unknown.append(name)
                continue
            report.checked += 1
            for each in package.get("vulns", []):
                fixed = ", ".join(each.get("fix_versions", [])) or "no version yet"
                report.found.append(f"{path.name}: {name} {version}: {each['id']}, fixed in {fixed}")
    return report


def _packages(path: Path, run: Run) -> Iterator[dict[str, Any]]:
    try:
        done = run(path)
    except subprocess.TimeoutExpired:
        raise AuditError("the vulnerability index did not answer in time", NOT_CHECKED) from None
    except OSError as error:
        raise AuditError(f"pip-audit can't be run: {error.strerror}; run 'make checks'", FAILED) from error
    try:
        yield from json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        # The last line of a traceback has the error. Only its name is shown, since its text may quote URLs.
        kind = (done.stderr.strip().splitlines() or ["no output"])[-1].partition(":")[0].rpartition(".")[2]
        if _UNREACHABLE.search(done.stderr):
            raise AuditError(f"the vulnerability index can't be reached ({kind})", NOT_CHECKED) from None
        raise AuditError(f"pip-audit failed on {path.name} ({kind})", FAILED) from None


def main(files: Sequence[Path], run: Run) -> int:
    """Audit the files, print the result, and return the exit code."""
    try:
        report = audit(files, run)
    except AuditError as error:
        print(f"audit: not checked: {error}", file=sys.stderr)
        return error.code
    for line in report.found:
        print(line)
    if report.unknown:
        names = sorted(set(report.unknown))
        shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        print(
            f"audit: not checked: the vulnerability index does not know {len(names)} packages: {shown}", file=sys.stderr
        )
    if report.found:
        return FOUND
    if report.unknown:
        return NOT_CHECKED
    print(f"audit: {report.checked} pinned packages, no known vulnerability")
    return 0


if __name__ == "__main__":
    sys.exit(main(pinned_files(ROOT), run_pip_audit))

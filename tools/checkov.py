"""Check the template with checkov: it has to fail the rules of .checkov.yaml, and no others."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[1]
COMMAND = (ROOT / ".venv-scanners/bin/checkov", "--framework", "cloudformation", "--skip-download", "-o", "json")


def main() -> str:
    """Return a line for each rule that fails without an exception, or has a needless one."""
    excepted = set(yaml_parse((ROOT / ".checkov.yaml").read_text())["skip-check"])
    # Outside the clone, whose .checkov.yaml has the exceptions.
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [*COMMAND, "--file", ROOT / "template.yaml"], cwd=folder, stdout=subprocess.PIPE, text=True, check=False
        )
    failed = {each["check_id"]: each for each in json.loads(done.stdout)["results"]["failed_checks"]}
    said = [f"{rule}, {each['check_name']}: {each['resource']}" for rule, each in failed.items()]
    said = [each for each in said if each.partition(",")[0] not in excepted]
    said += [f"{rule} is an exception that nothing needs" for rule in sorted(excepted - failed.keys())]
    return "\n".join(said)


if __name__ == "__main__":
    sys.exit(main() or 0)

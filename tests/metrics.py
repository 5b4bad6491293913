"""Names of the relay's metrics, as the library's code counts them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from relay.telemetry import METRIC_OF_NOTICE

LIBRARY = Path(__file__).resolve().parents[1] / "layers/relay/relay"
COUNTING = {"count", "notice", "_notice"}
# Their names are put together.
OF_CANARIES = {f"canary_{step}_seconds" for step in ("accepted", "notified", "ended")}


def _counted(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in COUNTING:
            [name] = node.args[:1] or [node.func]
            found = [str(each.value) for each in ast.walk(name) if isinstance(each, ast.Constant)]
            yield from (METRIC_OF_NOTICE.get(each, each) for each in found if not isinstance(name, ast.JoinedStr))


METRICS = OF_CANARIES | {name for path in LIBRARY.rglob("*.py") for name in _counted(path)}

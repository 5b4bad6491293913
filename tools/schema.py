"""Write what follows from the code into docs/: `make schema`.

channel.schema.json is the JSON Schema of channels' settings files, for editors; `relayctl channel export` writes the
same text. docs/architecture.md gets the tables of the core.
"""

from collections.abc import Iterable
from pathlib import Path

from relay.delivery.rules import HOLDS, RULES
from relayctl.settings.settings_file import SCHEMA_FILE, schema_text
from tests.simulation.phases import TRANSITIONS, Phase

DOCS = Path(__file__).resolve().parents[1] / "docs"
ARCHITECTURE, SCHEMA = DOCS / "architecture.md", DOCS / SCHEMA_FILE
BEGIN, END = "<!-- begin: made by `make schema` -->", "<!-- end: made by `make schema` -->"


def text() -> str:
    """Return the tables: the rules of a step, the holds, and the phases with a drawing of their changes."""
    rules = _table(("", "the first rule that applies", "phase after it"), ((r.name, r.why, r.phase) for r in RULES))
    holds = _table(("reason", "hold"), ((f"`{each.reason}`", each.why) for each in HOLDS))
    arrows = [f"    {was.capitalize()} --> {now.capitalize()}: {number}" for number, (was, now) in _numbered()]
    drawing = ["```mermaid", "stateDiagram-v2", "    [*] --> Idle", *arrows, "```"]
    changes = _table(
        ("", "from", "to", "because"),
        ((str(number), *key, TRANSITIONS[key]) for number, key in _numbered()),
    )
    return "\n".join([*rules, "", *holds, "", *drawing, "", *changes])


def written(document: str) -> str:
    """Return a document with the tables in place of the text between the two marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text()}\n\n{END}{after}"


def _numbered() -> Iterable[tuple[int, tuple[Phase, Phase]]]:
    return enumerate(TRANSITIONS, start=1)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [_row(heads), _row("---" for _ in heads), *map(_row, rows)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    ARCHITECTURE.write_text(written(ARCHITECTURE.read_text(encoding="utf-8")), encoding="utf-8")
    SCHEMA.write_text(schema_text(), encoding="utf-8")

"""Drawing of the template's CloudWatch dashboard as an HTML page, with sample data."""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from tools.dashboard_sample import AREAS, HOURS, LINES, TABLES

# CloudWatch's grid has 24 columns.
COLUMN, ROW, GAP = 50, 40, 6
WIDTH = 24 * COLUMN
COLOURS = ("#1f77b4", "#ff7f0e", "#8c8c8c", "#9467bd", "#17becf", "#d62728", "#e377c2")
FIRST_HOUR = 2
_STYLE = """
body { margin: 0; background: #f2f3f3; color: #16191f; font: 13px/1.35 system-ui, "Helvetica Neue", sans-serif; }
section { position: absolute; box-sizing: border-box; overflow: hidden; }
section.card { background: #fff; border: 1px solid #d5dbdb; border-radius: 6px; padding: 8px 10px; }
h1 { font-size: 20px; margin: 6px 4px 2px; } h2 { font-size: 16px; margin: 10px 4px 0; } p { margin: 0 4px; }
h3 { font-size: 13px; margin: 0 0 2px; } code { font-size: 12px; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: 5px 8px 5px 0; }
th { border-bottom: 2px solid #d5dbdb; } td { border-bottom: 1px solid #eaeded; }
text { font-size: 11px; fill: #545b64; } .key { font-size: 10.5px; fill: #16191f; }
"""


def body(template: Path) -> dict[str, Any]:
    """Return the dashboard of a template; references stand as the names of what they refer to."""
    written = yaml_parse(template.read_text())["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    filled = written.replace("${AWS::StackName}", "relay").replace("${AWS::Region}", "eu-central-1")
    found: dict[str, Any] = json.loads(re.sub(r"\$\{(\w+)[^}]*\}", r"\1", filled))
    return found


def html(dashboard: Mapping[str, Any]) -> str:
    """Return the page. Raises KeyError for a widget that has no sample data."""
    widgets = dashboard["widgets"]
    height = max(each["y"] + each["height"] for each in widgets) * ROW
    drawn = "\n".join(map(_widget, widgets))
    size = f"width:{WIDTH}px;height:{height + GAP}px;position:relative"
    return f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style><main style="{size}">{drawn}</main>'


def _widget(widget: Mapping[str, Any]) -> str:
    width, height = widget["width"] * COLUMN - GAP, widget["height"] * ROW - GAP
    place = f"left:{widget['x'] * COLUMN + GAP / 2}px;top:{widget['y'] * ROW + GAP}px"
    frame = f'style="{place};width:{width}px;height:{height}px"'
    properties = widget["properties"]
    if widget["type"] == "text":
        return f"<section {frame}>{_markdown(properties['markdown'])}</section>"
    title = properties["title"]
    if title in TABLES:
        inner = _table(TABLES[title])
    elif title in AREAS:
        inner = _areas(AREAS[title], width - 22, height - 44)
    else:
        unit = properties.get("yAxis", {}).get("left", {}).get("label", "")
        inner = _lines(LINES[title], _colours(properties), unit, (width - 22, height - 44))
    return f'<section class="card" {frame}><h3>{escape(title)}</h3>{inner}</section>'


def _markdown(text: str) -> str:
    parts = []
    for line in text.split("\n"):
        marks, _, words = line.partition(" ") if line.startswith("#") else ("", "", line)
        tag = f"h{len(marks)}" if marks else "p"
        parts.append(f"<{tag}>{re.sub('`([^`]*)`', r'<code>\1</code>', escape(words))}</{tag}>")
    return "".join(parts)


def _colours(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return the colour of each line by its label."""
    settings = [each[-1] for each in properties["metrics"]]
    return {each["label"]: each.get("color", COLOURS[place % len(COLOURS)]) for place, each in enumerate(settings)}


def _lines(series: Mapping[str, Sequence[float]], colours: Mapping[str, str], unit: str, size: tuple[int, int]) -> str:
    width, height = size
    top = max(1.0, *(max(values) for values in series.values()))
    drawn = []
    for label, colour in colours.items():
        values = series[label]
        step = (width - 44) / (len(values) - 1)
        points = " ".join(
            f"{40 + place * step:.1f},{(height - 40) * (1 - value / top) + 8:.1f}" for place, value in enumerate(values)
        )
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    return _chart("".join(drawn), colours, top, unit, size)


def _areas(series: Mapping[str, Sequence[int]], width: int, height: int) -> str:
    colours = {label: COLOURS[place % len(COLOURS)] for place, label in enumerate(series)}
    top, step = float(max(map(sum, zip(*series.values(), strict=True)))), (width - 44) / (HOURS - 1)
    drawn, floors = [], [0.0] * HOURS
    for label, values in series.items():
        ceilings = [floor + value for floor, value in zip(floors, values, strict=True)]
        around = [*enumerate(ceilings), *reversed(list(enumerate(floors)))]
        points = " ".join(f"{40 + hour * step:.1f},{(height - 40) * (1 - at / top) + 8:.1f}" for hour, at in around)
        drawn.append(f'<polygon points="{points}" fill="{colours[label]}" fill-opacity="0.75"/>')
        floors = ceilings
    return _chart("".join(drawn), colours, top, "", (width, height))


def _chart(drawn: str, colours: Mapping[str, str], top: float, unit: str, size: tuple[int, int]) -> str:
    width, height = size
    bottom = height - 32
    grid = "".join(
        f'<line x1="40" x2="{width - 4}" y1="{8 + (height - 40) * part / 2}" y2="{8 + (height - 40) * part / 2}" '
        f'stroke="#eaeded"/><text x="36" y="{12 + (height - 40) * part / 2}" text-anchor="end">'
        f"{top * (1 - part / 2):,.0f}</text>"
        for part in range(3)
    )
    hours = "".join(
        f'<text x="{40 + (width - 44) * place / HOURS}" y="{bottom + 14}" text-anchor="middle">'
        f"{FIRST_HOUR + place:02}:00</text>"
        for place in range(0, HOURS, 3)
    )
    keys, x, y = [], 0.0, bottom + 21
    for label, colour in colours.items():
        taken = 24 + 5.7 * len(label)
        if x + taken > width:
            x, y = 0.0, y + 12
        keys.append(
            f'<rect x="{x:.1f}" y="{y}" width="9" height="9" fill="{colour}"/>'
            f'<text class="key" x="{x + 13:.1f}" y="{y + 8}">{escape(label)}</text>'
        )
        x += taken
    said = f'<text x="{width - 4}" y="{bottom + 30}" text-anchor="end">{escape(unit)}</text>'
    view = f'viewBox="0 0 {width} {height + 12}" width="{width}" height="{height + 12}"'
    return f"<svg {view}>{grid}{drawn}{hours}{''.join(keys)}{said}</svg>"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *others = rows
    cells = ["".join(f"<td>{escape(each)}</td>" for each in row) for row in others]
    names = "".join(f"<th>{escape(each)}</th>" for each in head)
    return f"<table><tr>{names}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"

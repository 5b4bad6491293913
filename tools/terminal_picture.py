"""A picture of a terminal as SVG, from text with ANSI styles."""

import io
import re
from collections.abc import Sequence

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS = 80
# Colours of the sandbox's page in the dark; dimmed text keeps a contrast of at least 4.5 to 1.
_GREY, _RED, _GREEN, _YELLOW = (126, 142, 139), (255, 180, 174), (152, 218, 180), (242, 206, 133)
_BLUE, _MAGENTA, _CYAN, _WHITE = (141, 196, 234), (214, 176, 232), (140, 216, 226), (244, 248, 247)
_NORMAL = [(27, 35, 34), _RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN, _WHITE]
THEME = TerminalTheme((18, 24, 23), (232, 238, 236), _NORMAL, [_GREY, *_NORMAL[1:]])
# The rule after a title reaches the right edge of the terminal.
_TITLE = re.compile(r"\d  \S.*─\s*$")
_FONT_FACES = re.compile(r"@font-face \{.*?\}\n\s*", re.DOTALL)
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def acts(text: str, numbers: Sequence[int]) -> list[Text]:
    """Return the lines of these acts of the demo, which follow each other; raise ValueError if one is missing."""
    lines = [Text.from_ansi(line) for line in text.splitlines()]
    begins = {int(line.plain[0]): index for index, line in enumerate(lines) if _TITLE.match(line.plain)}
    if missing := sorted(set(numbers) - begins.keys()):
        raise ValueError(f"the demo printed no act {missing[0]}")
    end = begins.get(max(numbers) + 1, len(lines))
    while not lines[end - 1].plain.strip():
        end -= 1
    return lines[begins[min(numbers)] : end]


def svg(lines: Sequence[Text], title: str) -> str:
    """Return the picture of a terminal window with these lines."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(line, soft_wrap=True)
    picture = console.export_svg(title=title, theme=THEME, unique_id="demo")
    # A picture on GitHub loads no fonts; each computer has one of these.
    return _FONT_FACES.sub("", picture).replace("Fira Code, monospace", _FONTS) + "\n"

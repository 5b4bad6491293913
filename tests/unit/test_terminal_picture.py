"""Pictures of the demo's terminal: the acts that are asked for, in 80 columns, with styles."""

import io

import pytest
from rich.console import Console

from tools import terminal_picture


def _said() -> str:
    console = Console(record=True, width=terminal_picture.COLUMNS, file=io.StringIO())
    console.print("demo: starting the cloud … 0.5 s")
    for number in (1, 2, 3):
        console.print()
        console.rule(f"[bold]{number}  Act {number}", align="left")
        console.print(f"[green]✓[/] claim of act {number}")
        console.print(f"{number}  attempts")
    return console.export_text(styles=True)


@pytest.mark.parametrize(("numbers", "claims"), [((1,), ["1"]), ((2, 3), ["2", "3"])])
def test_acts_are_cut_from_their_titles_to_the_next_act(numbers: tuple[int, ...], claims: list[str]) -> None:
    lines = [line.plain for line in terminal_picture.acts(_said(), numbers)]
    assert lines[0].startswith(f"{numbers[0]}  Act {numbers[0]} ─")
    assert lines[-1].rstrip() == f"{numbers[-1]}  attempts"
    assert [line.rstrip()[-1] for line in lines if "claim" in line] == claims


def test_act_that_the_demo_did_not_print_is_an_error() -> None:
    with pytest.raises(ValueError, match="no act 4"):
        terminal_picture.acts(_said(), (3, 4))


def test_picture_has_the_styles_of_the_terminal_and_no_font_of_another_host() -> None:
    picture = terminal_picture.svg(terminal_picture.acts(_said(), (1,)), "make demo")
    green = "#{:02x}{:02x}{:02x}".format(*terminal_picture.THEME.ansi_colors[2])
    assert green in picture
    assert "make&#160;demo" in picture or "make demo" in picture
    assert "@font-face" not in picture

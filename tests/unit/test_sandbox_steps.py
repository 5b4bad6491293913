import io
from itertools import count

import pytest
from rich.console import Console

from sandbox.steps import Steps


def heard(*, terminal: bool = False) -> tuple[io.StringIO, Steps]:
    file = io.StringIO()
    seconds = count(step=1.25)
    console = Console(file=file, force_terminal=terminal, width=40, color_system=None)
    return file, Steps("local", console, clock=lambda: next(seconds))


def test_a_step_shows_before_it_is_done_and_how_long_it_took() -> None:
    file, steps = heard()
    with steps.step("starting [the cloud]"):
        assert file.getvalue() == "local: starting [the cloud] … "
    assert file.getvalue() == "local: starting [the cloud] … 1.2 s\n"


@pytest.mark.parametrize(
    ("problem", "word"), [(ValueError("no"), "failed after"), (KeyboardInterrupt(), "stopped after")]
)
def test_a_step_that_does_not_end_well_says_so_and_the_error_goes_on(problem: BaseException, word: str) -> None:
    file, steps = heard()
    with pytest.raises(type(problem)), steps.step("building"):
        raise problem
    assert file.getvalue() == f"local: building … {word} 1.2 s\n"


def test_on_a_terminal_the_line_is_there_once_at_the_end() -> None:
    file, steps = heard(terminal=True)
    with steps.step("building"):
        pass
    assert file.getvalue().endswith("local: building … 1.2 s\n")

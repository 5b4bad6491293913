"""The tests' own Runtime API, with functions that answer, raise, hang or die."""

from pathlib import Path

import pytest

from tests.artefact.runtime_api import Deployed, Function, FunctionError, FunctionStopped, loaded

CODE = """
import os, threading
def handler(event, context):
    match event["do"]:
        case "answer":
            return [event, context.aws_request_id, context.get_remaining_time_in_millis(), dict(os.environ)]
        case "raise":
            raise ValueError("wrong")
        case "hang":
            threading.Event().wait()
        case "die":
            os._exit(3)
"""


def deployed(folder: Path, code: str = CODE, timeout: float = 20.0) -> Deployed:
    (folder / "app.py").write_text(code)
    return Deployed(folder, (), "app.handler", timeout, {"NAME": "value"})


def invoked(function: Function, what: str) -> None:
    function.invoke({"do": what})


def test_function_answers_from_a_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "somebody")
    with loaded(deployed(tmp_path), tmp_path / "log") as function:
        event, first, remaining, environment = function.invoke({"do": "answer"})
        second = function.invoke({"do": "answer"})[1]
    assert event == {"do": "answer"}
    assert first != second
    assert 0 < remaining <= 20_000
    assert environment["NAME"] == "value"
    assert "AWS_PROFILE" not in environment


def test_function_that_raised_takes_the_next_invocation(tmp_path: Path) -> None:
    with loaded(deployed(tmp_path), tmp_path / "log") as function:
        with pytest.raises(FunctionError, match=r"^wrong$") as caught:
            invoked(function, "raise")
        assert caught.value.type == "ValueError"
        assert "line 8, in handler" in caught.value.stack[0]
        assert function.invoke({"do": "answer"})[0] == {"do": "answer"}
        assert "[ERROR] ValueError: wrong" in function.log()


def test_function_that_hangs_is_stopped_at_its_timeout(tmp_path: Path) -> None:
    with (
        loaded(deployed(tmp_path, timeout=0.5), tmp_path / "log") as function,
        pytest.raises(FunctionStopped, match=r"timed out after 0\.50 seconds"),
    ):
        invoked(function, "hang")


def test_function_process_that_dies_is_reported_at_once(tmp_path: Path) -> None:
    with (
        loaded(deployed(tmp_path), tmp_path / "log") as function,
        pytest.raises(FunctionStopped, match="exited with status 3"),
    ):
        invoked(function, "die")


def test_function_that_cannot_be_loaded_reports_the_reason(tmp_path: Path) -> None:
    with (
        pytest.raises(FunctionError, match="No module named 'no_such_module'") as caught,
        loaded(deployed(tmp_path, "import no_such_module"), tmp_path / "log"),
    ):
        pass
    assert caught.value.type == "Runtime.ImportModuleError"

"""relayctl at a terminal of 80 columns: prompts without echo, Ctrl-C, other encodings."""

import getpass
import io
import sys
from pathlib import Path

import pytest

from tests.fakes import interrupted
from tests.integration.relayctl_cloud import Operator

URL = "https://acme.xmatters.com/api/integration/1/functions/f1/triggers?apiKey=canary-url&recipients=Ops"

pytestmark = pytest.mark.usefixtures("narrow")


def test_missing_credentials_are_prompted_for_without_echo(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = {"trigger url: ": URL, "password: ": "canary-password"}
    monkeypatch.setattr(getpass, "getpass", lambda question: hidden.pop(question.lstrip()))
    words = ("channel", "set", "payments", "--auth", "basic")
    assert operator.typed(*words, answers=[lambda: "relay"]) == 0
    out, err = capsys.readouterr()
    assert ("username: " in err, "canary" in out + err, hidden) == (True, False, {})
    kept = operator.secret("payments")["xmatters"]
    assert kept == {"auth": {"type": "basic", "username": "relay", "password": "canary-password"}, "trigger_url": URL}


def test_ctrl_c_at_a_prompt_stores_nothing(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(getpass, "getpass", interrupted)
    assert operator.typed("channel", "set", "payments") == 130
    assert "Aborted!" in capsys.readouterr().err
    assert operator.secrets.list_secrets()["SecretList"] == []


def test_output_of_a_stored_change_is_whole_in_an_encoding_without_its_characters(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    operator.keep("payments", xmatters={"recipients": ["Ops"]})
    (tmp_path / "url").write_text(URL)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1", write_through=True))
    change = ("channel", "set", "payments", "--trigger-url", f"@{tmp_path}/url")
    assert operator.typed(*change) == 0
    assert "\\u2192 https://acme" in " ".join(written.getvalue().decode().split())
    assert operator.secret("payments")["xmatters"]["trigger_url"] == URL

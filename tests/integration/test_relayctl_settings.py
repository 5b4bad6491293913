"""relayctl channel plan, apply, export and undo with AWS in memory."""

import json
from pathlib import Path
from typing import Any

import pytest

from relayctl.channel.secret_document import SecretDocument
from relayctl.settings.settings_file import exported
from tests.every_setting import CANARY, every_setting
from tests.fakes import interrupted, once
from tests.integration.relayctl_cloud import Operator

TRIGGER = f"https://acme.xmatters.com/api/integration/1/functions/f1/triggers?apiKey={CANARY}"
NEW = """
xmatters:
  trigger_url: {secret: stored, env: TRIGGER}
  auth: {type: url}
  recipients: [jdoe]
"""


@pytest.fixture
def operator(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.setenv("TRIGGER", TRIGGER)
    return operator


def store(operator: Operator, *names: str) -> None:
    """Store channels without credentials for xMatters' REST API, so that no recipients are checked."""
    for name in names:
        secret = every_setting(name)
        del secret["xmatters"]["rest"]
        del secret["bigpanda"]["actions"]
        operator.store(name, secret)


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.yaml").write_text(text)


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / f"{name}.yaml").read_text()
    assert old in text
    write(folder, name, text.replace(old, new))


def run(operator: Operator, verb: str, of: Path | str, *options: str, code: int = 0) -> Any:
    """Run a verb of `relayctl channel` on a folder of settings or a channel. Fail if the output has a credential."""
    done = operator.run("channel", verb, str(of), *options, code=code)
    assert CANARY not in done.output
    assert "bpr_" not in done.output
    return done


def versions(operator: Operator, name: str) -> Any:
    return operator.secrets.describe_secret(SecretId=f"team/relay/{name}")["VersionIdsToStages"]


class TestPlan:
    @pytest.mark.parametrize("kind", ["url", "basic", "api_key", "oauth"])
    def test_plan_after_export_shows_no_change_for_a_channel_with_every_setting(
        self, operator: Operator, tmp_path: Path, kind: str
    ) -> None:
        secret = every_setting("payments", kind)
        operator.store("payments", secret)
        assert run(operator, "export", tmp_path / "new").stdout == f"{tmp_path}/new/payments.yaml\n"
        tmp_path /= "new"
        assert {each.name for each in tmp_path.iterdir()} == {"channel.schema.json", "payments.yaml"}
        assert CANARY not in (tmp_path / "payments.yaml").read_text()
        assert run(operator, "plan", tmp_path).stdout == "0 new, 0 changed, 1 unchanged\n"
        run(operator, "apply", tmp_path, "--yes")
        assert operator.secret("payments") == secret

    def test_pending_changes_are_exit_code_4_and_change_nothing(self, operator: Operator, tmp_path: Path) -> None:
        store(operator, "payments", "legacy")
        write(tmp_path, "payments", exported("payments", SecretDocument(operator.secret("payments"))))
        edit(tmp_path, "payments", "preset: oncall\n", "preset: parity\n")
        edit(tmp_path, "payments", "  max_per_minute: 60\n", "")
        edit(tmp_path, "payments", "  - 'no'\n", "")
        write(tmp_path, "new", NEW)
        before = versions(operator, "payments")
        assert run(operator, "plan", tmp_path, code=4).stdout.splitlines() == [
            "new: new channel",
            "  + inbound.token: ***",
            "  + xmatters.auth.type: url",
            '  + xmatters.recipients: ["jdoe"]',
            "  + xmatters.trigger_url: https://acme.xmatters.com/api/integration/1/functions/f1/triggers?***",
            "payments: 3 changes",
            "  - policy.max_per_minute: 60",
            "  ~ policy.preset: oncall → parity",
            '  ~ xmatters.recipients: ["Network Operations", "no", "0123", "1e5", "12:30", "~"] → '
            '["Network Operations", "0123", "1e5", "12:30", "~"]',
            "not in DIR, and left as they are: legacy",
            "1 new, 1 changed, 0 unchanged",
        ]
        assert versions(operator, "payments") == before
        assert not [each for each in operator.secrets.list_secrets()["SecretList"] if each["Name"].endswith("/new")]


def test_invalid_file_is_refused_with_its_key_before_any_channel_is_changed(operator: Operator, tmp_path: Path) -> None:
    store(operator, "payments", "web")
    run(operator, "export", tmp_path)
    edit(tmp_path, "payments", "preset: oncall", "preset: parity")
    edit(tmp_path, "web", "max_per_minute: 60", "max_per_minit: 60")
    write(tmp_path, "Bad Name", NEW)
    before = versions(operator, "payments")
    done = run(operator, "apply", tmp_path, "--yes", code=2)
    assert f"{tmp_path}/web.yaml: policy: unknown key max_per_minit; did you mean policy.max_per_minute?" in done.stderr
    assert f"{tmp_path}/Bad Name.yaml: is not named after a channel" in done.stderr
    assert done.stdout == ""
    assert versions(operator, "payments") == before


class TestApply:
    def test_apply_makes_a_channel_as_channel_set_does(self, operator: Operator, tmp_path: Path) -> None:
        write(tmp_path, "payments", NEW)
        done = run(operator, "apply", tmp_path, "--yes")
        assert done.stdout.splitlines()[-1] == "1 of 1 applied"
        assert "channel payments: the relay accepts it" in done.stderr
        assert "relayctl channel set payments --reveal" in done.stderr
        operator.run("channel", "set", "other", "--trigger-url", TRIGGER, "--recipient", "jdoe", code=0)
        made, by_hand = operator.secret("payments"), operator.secret("other")
        assert made["inbound"].pop("token") != by_hand["inbound"].pop("token")
        assert made == by_hand

    def test_key_that_the_file_leaves_out_is_removed_but_for_pauses_and_what_bigpanda_shows(
        self, operator: Operator, tmp_path: Path
    ) -> None:
        store(operator, "payments")
        before = operator.secret("payments")
        write(tmp_path, "payments", NEW)
        run(operator, "apply", tmp_path, "--yes")
        xmatters = {"trigger_url": before["xmatters"]["trigger_url"], "auth": {"type": "url"}, "recipients": ["jdoe"]}
        policy = {"pauses": before["policy"]["pauses"]}
        expected = {"inbound": before["inbound"], "xmatters": xmatters, "policy": policy}
        assert operator.secret("payments") == expected


class TestApplyThatFails:
    @pytest.fixture(autouse=True)
    def three_changed_channels(self, operator: Operator, tmp_path: Path) -> None:
        store(operator, "a", "b", "c")
        run(operator, "export", tmp_path)
        for name in "abc":
            edit(tmp_path, name, "preset: oncall", "preset: parity")

    @staticmethod
    def presets(operator: Operator) -> list[str]:
        return [operator.secret(name)["policy"]["preset"] for name in "abc"]

    def test_concurrent_change_is_refused_and_ends_the_run(self, operator: Operator, tmp_path: Path) -> None:
        change = ("channel", "set", "b", "--set", "policy.max_per_minute=7")
        operator.on_put = once(lambda: operator.run(*change, code=0), at=2)
        done = run(operator, "apply", tmp_path, "--yes", code=1)
        assert "channel b: changed meanwhile by another operator; nothing was stored" in " ".join(done.stderr.split())
        assert done.stdout.splitlines()[-1] == "1 of 3 applied"
        assert self.presets(operator) == ["parity", "oncall", "oncall"]
        assert operator.secret("b")["policy"]["max_per_minute"] == 7
        assert run(operator, "apply", tmp_path, "--yes").stdout.splitlines()[-1] == "2 of 2 applied"
        assert self.presets(operator) == ["parity"] * 3

    def test_ctrl_c_leaves_the_channel_old_or_new(self, operator: Operator, tmp_path: Path) -> None:
        # The second channel's first move of a label: AWSCURRENT.
        operator.hooks["before-call.secretsmanager.UpdateSecretVersionStage"] = once(interrupted, at=3)
        done = run(operator, "apply", tmp_path, "--yes", code=130)
        assert done.stdout.splitlines()[-1] == "1 of 3 applied"
        assert self.presets(operator) == ["parity", "oncall", "oncall"]
        stages = {stage for name in "abc" for each in versions(operator, name).values() for stage in each}
        assert stages == {"AWSCURRENT", "AWSPREVIOUS"}

    @pytest.mark.parametrize("waits", ["for the credential", "for the mark"])
    def test_ctrl_c_while_a_channel_waits_ends_the_run_after_it_and_names_the_rest(
        self, operator: Operator, tmp_path: Path, waits: str
    ) -> None:
        edit(tmp_path, "a", "mode: shadow", "mode: live")
        write(tmp_path, "0", NEW)
        if waits == "for the mark":
            (tmp_path / "0.yaml").unlink()

        operator.on_pause = once(interrupted)
        done = run(operator, "apply", tmp_path, "--yes", code=130)
        names = ["a", "b", "c"] if waits == "for the mark" else ["0", "a", "b", "c"]
        assert done.stdout.splitlines()[-1] == f"1 of {len(names)} applied"
        assert f"not applied: {', '.join(names[1:])}" in done.stderr.splitlines()
        assert "(interrupted)" in done.stderr
        assert self.presets(operator)[1:] == ["oncall"] * 2


def test_change_that_is_not_in_force_is_a_failure_and_the_command_that_is_named_puts_it_in_force(
    operator: Operator, tmp_path: Path
) -> None:
    store(operator, "payments")
    run(operator, "export", tmp_path)
    edit(tmp_path, "payments", "mode: shadow", "mode: live")
    operator.refused = {"UpdateItem": "ThrottlingException"}
    again = "channel set payments"
    for verb in (("apply", str(tmp_path), "--yes"), ("undo", "payments", "--yes"), ("set", "payments")):
        assert f"to put it in force, type: relayctl {again}" in operator.run("channel", *verb, code=1).stderr
    operator.run(*again.split(), code=1)
    operator.refused = {}
    assert operator.marks() == {}
    assert operator.run(*again.split(), code=0).stdout.startswith("nothing changed\n")
    assert operator.marks().keys() == {"payments/settings"}


class TestExport:
    def test_export_does_not_write_through_planted_links(self, operator: Operator, tmp_path: Path) -> None:
        store(operator, "payments")
        victim = tmp_path.parent / "victim.txt"
        victim.write_text("mine")
        for planted in ("payments.yaml", "channel.schema.json"):
            (tmp_path / planted).symlink_to(victim)
        run(operator, "export", tmp_path, "--overwrite")
        assert victim.read_text() == "mine"
        for name in ("payments.yaml", "channel.schema.json"):
            assert not (tmp_path / name).is_symlink()
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600

    def test_export_refuses_a_key_that_it_does_not_know_since_that_may_be_a_credential(
        self, operator: Operator, tmp_path: Path
    ) -> None:
        operator.keep("web", slack={"token": "TOP-SECRET"})
        done = run(operator, "export", tmp_path, code=2)
        assert "channel web: the secret: unknown key slack; nothing was exported" in done.stderr
        assert (list(tmp_path.iterdir()), "TOP-SECRET" in done.output) == ([], False)

    def test_export_replaces_a_file_only_if_told_to(self, operator: Operator, tmp_path: Path) -> None:
        store(operator, "payments", "web")
        write(tmp_path, "web", "# mine\n")
        done = run(operator, "export", tmp_path, code=2)
        assert f"{tmp_path}/web.yaml exists, and nothing was written; --overwrite replaces it" in done.stderr
        assert [each.name for each in tmp_path.iterdir()] == ["web.yaml"]


def test_undo_goes_back_and_a_second_undo_forth(operator: Operator) -> None:
    store(operator, "payments")
    before = operator.secret("payments")
    change = ["--set", "policy.max_per_minute=7", "--unset", "policy.preset"]
    operator.run("channel", "set", "payments", *change, code=0)
    after = operator.secret("payments")
    assert run(operator, "undo", "payments", "--yes").stdout.splitlines() == [
        "  ~ policy.max_per_minute: 7 → 60",
        "  + policy.preset: oncall",
    ]
    assert operator.secret("payments") == before
    assert json.loads(run(operator, "undo", "payments", "--yes", "--json").stdout) == {
        "channel": "payments",
        "changes": [
            {"key": "policy.max_per_minute", "old": 60, "new": 7},
            {"key": "policy.preset", "old": "oncall", "new": None},
        ],
    }
    assert operator.secret("payments") == after


@pytest.mark.parametrize("endpoint", ["inbound", "callback"])
def test_revoked_credential_does_not_come_back(operator: Operator, endpoint: str) -> None:
    store(operator, "payments")
    operator.run("channel", "revoke", "payments", "--endpoint", endpoint, "--yes", code=0)
    revoked = operator.secret_text("payments")
    done = run(operator, "undo", "payments", "--yes", code=3)
    assert "nothing to undo: the last change of channel payments changed only what BigPanda or" in done.stderr
    assert operator.secret_text("payments") == revoked

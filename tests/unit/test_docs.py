"""Documents and code agree: the code has all that documents name, and documents explain all that users meet."""

import itertools
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from samtranslator.yaml_helper import yaml_parse

from bench import cost
from relay.channels.schema import CHANNEL
from relay.failures import Reason
from relay.incidents.share import parse_share
from relayctl.__main__ import main
from relayctl.channel.bigpanda import BODY
from relayctl.channel.secret_document import is_credential
from tests.metrics import METRICS
from tools import schema

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())
INSTALL = (ROOT / "docs/install.md").read_text()
OPERATE = (ROOT / "docs/operate.md").read_text()
DECISIONS = (ROOT / "docs/decisions.md").read_text()
README = (ROOT / "README.md").read_text()
PICTURES = ROOT / "docs" / "pictures"
LARGEST_PICTURE_BYTES = 400_000
LONGEST_DECISION_WORDS = 175
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def test_each_parameter_and_output_of_the_stack_is_in_the_install_guide() -> None:
    for name in (*TEMPLATE["Parameters"], *TEMPLATE["Outputs"]):
        assert re.search(rf"\b{name}\b", INSTALL), name


ALARMS = {name for name, each in TEMPLATE["Resources"].items() if each["Type"] == "AWS::CloudWatch::Alarm"}
RUNBOOKS = dict(
    re.findall(
        r"^### ([^\n]+)\n\n(.+?)(?=^### |\Z)",
        OPERATE.partition("\n## Runbooks\n")[2].partition("\n## ")[0],
        re.MULTILINE | re.DOTALL,
    )
)


def test_each_alarm_has_a_runbook_and_each_runbook_a_link_in_the_table_of_alarms() -> None:
    assert 10 < len(ALARMS) <= 20
    table = OPERATE.partition("## An alarm went off\n")[2].partition("\n## ")[0]
    linked = re.findall(r"\[([^]]+)\]\(#([a-z-]+)\)", table)
    assert sorted(name for name, _ in linked if name.endswith("Alarm")) == sorted(ALARMS)
    assert {anchor for _, anchor in linked} == {_anchor(title) for title in RUNBOOKS}
    # What messages to people say to look for (delivery.fallback_messages, health.judgement).
    assert {"A missed critical", "A channel is sick"} <= RUNBOOKS.keys()
    assert "FallbackAlarm" in ALARMS


def test_each_runbook_has_meaning_then_command_then_its_end_then_steps() -> None:
    assert len(RUNBOOKS) > 20
    for title, text in RUNBOOKS.items():
        meaning, first, command, *_ = text.split("\n\n")
        assert meaning.replace("\n", " ").rstrip("*").endswith((".", ".)")), title
        assert first.startswith("**Type first"), title
        assert command.startswith("    "), title
        rest = text.partition("**Over when**")[0].split("\n\n")[2:-1]
        assert all(part.startswith("    ") for part in rest), f"{title}: nothing stands between the command and its end"
        assert "\n**Over when** " in text, title
        end = text.partition("\n**Over when** ")[2]
        assert re.search(r"^(1\. |\| ---)", end, re.MULTILINE), f"{title}: no steps"


def test_each_reason_and_notice_is_in_the_operations_guide() -> None:
    for word in (*(reason.value for reason in Reason), *METRICS):
        assert f"`{word}`" in OPERATE, word


def test_each_key_of_a_channel_is_in_the_install_guide() -> None:
    def keys(schema: dict[str, Any]) -> set[str]:
        inner = schema.get("properties", {})
        return set(inner) | {key for each in inner.values() for key in keys(each)}

    assert [key for key in sorted(keys(CHANNEL)) if not re.search(rf"\b{key}\b", INSTALL)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_documented_command_puts_a_credential_into_a_file_of_the_clone(page: Path) -> None:
    commands = [line for line in page.read_text().splitlines() if line.startswith("    ")]
    options = r"(?:--(?:trigger-url|password|key|secret|api-key|app-key) |--set \S*(?:key|token|password|secret|rest)=)"
    assert [line for line in commands if re.search(rf"{options}@(?![/$<])", line)] == []


def test_each_sample_event_is_in_the_table_of_samples() -> None:
    named = re.findall(r"`([\w*]+\.json)`", (ROOT / "events/README.md").read_text())
    for sample in (ROOT / "events").glob("*.json"):
        assert any(sample.match(pattern) for pattern in named), sample.name


def test_each_verb_of_relayctl_is_shown_in_a_document() -> None:
    text = "".join(page.read_text() for page in PAGES)
    context = click.Context(main)
    for noun in main.list_commands(context):
        group = main.get_command(context, noun)
        if not isinstance(group, click.Group):
            assert f"relayctl {noun}" in text, noun
            continue
        for verb in group.commands:
            assert re.search(rf"relayctl {noun} ({verb}\b|[a-z|]*\b{verb}\b)", text), f"{noun} {verb}"


def test_each_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("docs/*/*.md")], ids=lambda page: page.name)
def test_links_in_documents_have_a_target(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading:
            text = target.read_text()
            named = set(re.findall(r'<a id="([a-z0-9-]+)"></a>', text))
            assert heading in named | {_anchor(line) for line in text.splitlines() if line.startswith("#")}, link


def _anchor(line: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_documents_name_exist(page: Path) -> None:
    named = re.findall(r"`((?:tests|layers|functions|relayctl|bench|sandbox)/[\w./]+\.\w+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_sections_of_documents_that_code_cites_exist() -> None:
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs/vendors.md").read_text(), re.MULTILINE)
    cited = 0
    for source in (path for name in ("layers", "sandbox", "relayctl") for path in (ROOT / name).rglob("*.py")):
        for words in re.findall(r'docs/vendors\.md, (?:xMatters )?((?:"[^"]+"(?:, )?)+)', source.read_text()):
            for heading in re.findall(r'"([^"]+)"', words):
                assert heading in headings, f"{source}: {heading}"
                cited += 1
    assert cited > 5


def test_each_test_that_a_document_names_exists() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+|Test[A-Z]\w+)`", "".join(page.read_text() for page in PAGES))
    assert len(named) > 80
    assert set(named) - set(re.findall(r"\b(?:def|class) (\w+)", tests)) == set()


def test_each_limit_of_aws_names_a_test_or_is_a_decision() -> None:
    limits = (ROOT / "docs/vendors.md").read_text().partition("### AWS limits\n")[2]
    rows = [line for line in limits.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    assert [row for row in rows if "`test_" not in row and "D-aws-limits" not in row] == []


def test_each_decision_has_a_name_of_its_own_and_is_short() -> None:
    decisions = re.findall(r"^### (D-[a-z0-9-]+)\n(.+?)(?=^###? |\Z)", DECISIONS, re.MULTILINE | re.DOTALL)
    names = [name for name, _ in decisions]
    assert len(names) == len(set(names)) == DECISIONS.count("\n### ")
    assert [name for name, text in decisions if not 0 < len(text.split()) <= LONGEST_DECISION_WORDS] == []


def test_each_cited_decision_exists() -> None:
    names = set(re.findall(r"^### (D-[a-z0-9-]+)$", DECISIONS, re.MULTILINE))
    folders = ("layers/relay", "functions", "relayctl", "sandbox", "bench", "tools", "tests", "docs")
    pages = [ROOT / "template.yaml", *PAGES, *(path for name in folders for path in (ROOT / name).rglob("*.py"))]
    cited = {name for path in pages for name in re.findall(r"\bD-[a-z]+(?:-[a-z0-9]+)+\b", path.read_text())}
    assert cited - names == set()


def test_each_picture_is_shown_exists_is_small_and_has_an_alternative_text() -> None:
    images = [(page.parent, tag) for page in PAGES for tag in re.findall(r"<img ([^>]*)>", page.read_text())]
    assert images
    assert [tag for _, tag in images if not re.search(r'alt="[^"]{40,}"', tag)] == []
    named = [
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(r'(?:src|srcset)="([^"]+)"', page.read_text())
    ]
    assert set(PICTURES.iterdir()) == set(named)
    assert [path.name for path in PICTURES.iterdir() if path.stat().st_size >= LARGEST_PICTURE_BYTES] == []


def test_make_help_fits_into_80_columns_and_names_the_target_that_makes_the_pictures() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert [line for line in said.splitlines() if len(line) > 80] == []
    assert re.search(r"^  make pictures +\S", said, re.MULTILINE)


def test_template_for_webhook_v2_is_that_of_relayctl_and_its_share_is_parsed() -> None:
    template = json.loads((ROOT / "docs/bigpanda-webhook-v2.json").read_text())
    values = {"incident.id": "i-1", "incident.status": "Critical", "incident.updated_at": "1795565100"}
    filled = {
        key: re.sub(r"{{(.+?)}}", lambda found: values.get(found[1], "x"), text) for key, text in template.items()
    }
    share = parse_share(json.dumps(filled).encode())
    assert (share.incident_id, share.status, share.event) == ("i-1", "critical", "incident#updated")
    assert share.version == (1795565100.0, 0.0)
    # relayctl prints it without an event, and the sample has its members.
    assert template == {"event": template["event"], **BODY}
    event = json.loads((ROOT / "events/bigpanda_5_webhook_v2.json").read_text())
    assert json.loads(event["body"]).keys() == template.keys()


def test_each_module_and_function_in_the_architecture_exists() -> None:
    text = "".join((ROOT / name).read_text() for name in ("docs/architecture.md", "README.md"))
    library = ROOT / "layers/relay/relay"
    packages = {path.name for path in library.iterdir() if path.is_dir() and path.name != "__pycache__"}
    named = set(re.findall(rf"\b({'|'.join(sorted(packages))})\.([a-z_]+)", text))
    assert len(named) > 20
    assert [
        f"{package}.{module}" for package, module in named if not (library / package / f"{module}.py").exists()
    ] == []
    functions = {name for name, each in TEMPLATE["Resources"].items() if each["Type"] == "AWS::Serverless::Function"}
    assert [name for name in functions if name not in text] == []
    rooms = {path.stem for path in library.glob("*.py")} - {"__init__"} | packages
    assert [room for room in sorted(rooms) if f"`{room}`" not in text] == []


def test_tables_of_the_core_are_those_of_the_code() -> None:
    document = schema.ARCHITECTURE.read_text()
    assert document == schema.written(document), "run `make schema`"


def test_each_answer_of_where_it_is_decided_exists() -> None:
    section = (ROOT / "README.md").read_text().partition("## Where it is decided\n")[2]
    library = ROOT / "layers/relay/relay"
    answers = re.findall(r"`([a-z_.]+)`, `(\w+)`(?: and `(\w+)`)?", section)
    assert len(answers) > 15
    for module, *names in answers:
        folder = ROOT if module.startswith("relayctl.") else library
        source = (folder / f"{module.replace('.', '/')}.py").read_text()
        assert [name for name in names if name and not re.search(rf"\b{name}\b(\(|\[|:)", source)] == [], module


def words_of(line: str) -> list[str]:
    """Return the words after `relayctl` in a line of a document; an empty list if it calls no relayctl."""
    called = re.fullmatch(r"    +(?:.* \| )?relayctl (.+)", line)
    words = shlex.split(called[1].replace("NAME", "name"), comments=True) if called else []
    return list(itertools.takewhile(lambda word: word not in {"|", ">", ">>", "2>>"}, words))


def parse(words: list[str]) -> None:
    command: click.Command = main
    names = list(words)
    while isinstance(command, click.Group) and names and not names[0].startswith("-"):
        found = command.get_command(click.Context(command), names[0])
        if found is None:
            raise click.UsageError(f"no such command: {' '.join(words)}")
        command = found
        names.pop(0)
    if not isinstance(command, click.Group):
        command.make_context("relayctl", names).close()


def commands_in_sentences(text: str) -> list[list[str]]:
    """Return the words after `relayctl` of each complete command in a sentence.

    A command is complete if it has an option, and neither `…` nor `|`.
    """
    spans = [" ".join(span.split()) for span in re.findall(r"`relayctl\s([^`]+)`", text)]
    whole = [span.replace("NAME", "name") for span in spans if "--" in span and not re.search(r"[…|]", span)]
    return [shlex.split(span) for span in whole]


DOCUMENTED = [
    pytest.param(words, id=f"{page.name}: {' '.join(words)}")
    for page in PAGES
    for words in (
        *map(words_of, page.read_text().replace("\\\n", "").splitlines()),
        *commands_in_sentences(page.read_text()),
    )
    if words
]


@pytest.mark.parametrize("words", DOCUMENTED)
def test_each_relayctl_command_in_a_document_parses(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some commands take a folder or a file that must exist.
    (tmp_path / "channels").mkdir()
    for name in ("share.json", "policy.json", "new-policy.json", "dead.jsonl"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    parse(words)


def commands(text: str) -> list[str]:
    """Return each `relayctl channel set …` of a text, without comments."""
    found = re.findall(r"relayctl channel set[^`\n]*", text)
    return [each.partition("  #")[0] for each in found]


def literals(command: str) -> list[str]:
    options = re.findall(r"--(?:trigger-url|password|key|secret)[ =]([^\s)`]+)", command)
    settings = [(key, value) for key, value in re.findall(r"--set '?([a-z_.]+)=([^\s)'`]+)", command)]
    values = [*options, *(value for key, value in settings if is_credential(key, value))]
    return [value for value in values if not re.match(r"@|-(\s|-|$)", value)]


def test_no_document_or_help_text_shows_a_credential_on_the_command_line() -> None:
    sources = [path for name in ("relayctl", "sandbox") for path in (ROOT / name).rglob("*.py")]
    pages = [*PAGES, *(ROOT / "docs/xmatters").glob("*.md"), *(ROOT / "events").glob("*.md"), *sources]
    found = {str(page): commands(page.read_text()) for page in pages}
    assert sum(map(len, found.values())) > 15
    assert [(page, each) for page, each_of in found.items() for each in each_of if literals(each)] == []
    # Options that are named without the whole command, such as `--auth api_key --key K`.
    alone = [re.findall(r"`[^`\n]*--(?:password|key|secret) [^`\n]*`", page.read_text()) for page in pages]
    assert [each for each_of in alone for each in each_of if literals(each)] == []


def test_readme_has_the_dollars_of_a_million_shares_and_of_a_month() -> None:
    readme = " ".join(README.split())
    million, month = cost.section().figures[-1], cost.month_section().figures[-1]
    assert million.is_met
    assert month.is_met
    assert f"about **${month.values[0]:.0f}** for five channels and 20,000 shares" in readme
    assert f"about **${million.values[0]:.0f} for a million owed shares**" in readme


def test_month_and_install_guide_have_the_same_price_of_a_canary() -> None:
    price = f"{cost.canary_bill(cost.section().figures[-1].values[0]):.2f}"
    notes = " ".join(cost.month_section().notes)
    assert f"A canary, off by default and not included, adds ${price}" in notes
    assert f"about ${price} a month" in " ".join(INSTALL.split())

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from relay.channels import channel
from relay.channels.channel import is_channel_name
from relay.channels.parsing import parse_channel
from relay.channels.schema import AUTH
from relay.failures.errors import InvalidChannel
from tests import samples
from tests.fakes import HOSTS

NOW = 1_800_000_000.0
CANARY = "canary-31c8"
WHOLE: dict[str, Any] = {
    "inbound": {
        "basic": {"username": CANARY, "password": CANARY},
        "token": CANARY,
        "previous": {
            "basic": {"username": CANARY, "password": CANARY},
            "token": CANARY,
            "expires_at": "2030-01-31T12:00:00Z",
        },
    },
    "xmatters": {
        "trigger_url": f"https://acme.xmatters.com/{CANARY}?apiKey={CANARY}",
        "auth": {"type": "oauth", "client_id": CANARY, "username": CANARY, "password": CANARY},
        "recipients": [CANARY, "Network Operations"],
        "callback": {"token": f"{CANARY}-callback"},
        "rest": {
            "base_url": f"https://{CANARY}.xmatters.com",
            "auth": {"type": "api_key", "key": CANARY, "secret": CANARY},
        },
    },
    "bigpanda": {"base_url": "https://api.bigpanda.io", "api_key": CANARY},
    "policy": {
        "preset": "oncall",
        "notify_on": ["opened", "resolved"],
        "body": "bigpanda",
        "min_seconds_between_signals": 15,
        "max_per_minute": 60,
        "max_age_seconds": 21600,
        "fallback_after_seconds": 300,
    },
}


def positions(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield from positions(value[key], (*path, key))


def changed(path: tuple[Any, ...], value: Any) -> Any:
    holder = {"root": copy.deepcopy(WHOLE)}
    place: Any = holder
    *way, last = ("root", *path)
    for key in way:
        place = place[key]
    place[last] = value
    return holder["root"]


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def complaint(document: Any) -> str:
    with pytest.raises(InvalidChannel) as caught:
        parse_channel("noc", json.dumps(document), HOSTS)
    return str(caught.value)


class TestParse:
    def test_complete_secret_is_parsed(self) -> None:
        found = parse_channel("noc", json.dumps(WHOLE), HOSTS)
        assert (found.name, found.trigger_url) == ("noc", f"https://acme.xmatters.com/{CANARY}?apiKey={CANARY}")
        assert (found.auth.type, found.recipients) == ("oauth", (CANARY, "Network Operations"))
        assert [each.expires_at for each in found.inbound] == [None, 1_896_091_200.0]

    def test_repr_of_a_channel_shows_no_secret(self) -> None:
        document = WHOLE | {"xmatters": WHOLE["xmatters"] | {"recipients": ["Network Operations"]}}
        assert CANARY not in repr(parse_channel("noc", json.dumps(document), HOSTS))

    def test_recipients_are_trimmed_and_deduplicated(self) -> None:
        document = changed(("xmatters", "recipients"), [" jdoe ", "jdoe", "Net Ops"])
        assert parse_channel("noc", json.dumps(document), HOSTS).recipients == ("jdoe", "Net Ops")

    @pytest.mark.parametrize(
        ("path", "value", "message"),
        [
            (("inbound",), {}, "inbound: needs basic or token"),
            (("inbound", "previous"), {"token": "t"}, "inbound.previous: needs expires_at"),
            (
                ("inbound", "previous"),
                {"expires_at": "2030-01-31T12:00:00Z"},
                "inbound.previous: needs basic or token",
            ),
            (
                ("inbound", "previous", "expires_at"),
                "2030-01-31T12:00:00",
                "inbound.previous.expires_at: must be an ISO 8601 time with an offset, such as 2030-01-31T12:00:00Z",
            ),
            (("inbound", "token"), "", "inbound.token: must be printable ASCII without spaces"),
            (("inbound", "token"), "t k", "inbound.token: must be printable ASCII without spaces"),
            (("inbound", "token"), "tok\n", "inbound.token: must be printable ASCII without spaces"),
            (("inbound", "token"), None, "inbound.token: must be of type string"),
            (("inbound", "token"), "x" * 4097, "inbound.token: must have 4096 characters at most"),
            (("inbound", "basic"), {"username": "u"}, "inbound.basic: needs password"),
            (("inbound", "tokens"), "t", "inbound: unknown key tokens"),
            (("xmatters", "trigger_url"), "acme.xmatters.com", "xmatters.trigger_url: must be a URL"),
            (("xmatters", "trigger_url"), "https://acme.xmatters.com/a b", "xmatters.trigger_url: must be a URL"),
            (("xmatters", "trigger_url"), "http://acme.xmatters.com/", "xmatters.trigger_url: it is not https"),
            (("xmatters", "auth"), {"type": "ntlm"}, "xmatters.auth.type: must be one of url, basic, api_key, oauth"),
            (("xmatters", "auth"), {"type": "api_key", "key": "k"}, "xmatters.auth: needs secret"),
            (
                ("xmatters", "auth"),
                {"type": "url", "password": "p"},
                "xmatters.auth: unknown key password",
            ),
            (("xmatters", "auth"), {"type": "url", "x": nested(2000)}, "xmatters.auth: unknown key x"),
            (("xmatters", "recipients", 0), "a,b", "xmatters.recipients.0: must not be blank or hold a comma"),
            (("xmatters", "recipients", 0), "  ", "xmatters.recipients.0: must not be blank or hold a comma"),
            (("xmatters", "recipients"), ["r"] * 101, "xmatters.recipients: must have 100 items at most"),
            (("xmatters", "rest", "auth"), {"type": "basic"}, "xmatters.rest.auth: needs username, password"),
            (
                ("xmatters", "rest", "base_url"),
                "https://evil.com",
                "xmatters.rest.base_url: its host is not among the stack's XMattersHosts",
            ),
            (
                ("xmatters", "trigger_url"),
                "https://api.bigpanda.io/x",
                "xmatters.trigger_url: its host is not among the stack's XMattersHosts",
            ),
            (
                ("xmatters", "rest", "base_url"),
                "https://api.bigpanda.io",
                "xmatters.rest.base_url: its host is not among the stack's XMattersHosts",
            ),
            (
                ("bigpanda", "base_url"),
                "https://acme.xmatters.com",
                "bigpanda.base_url: its host is not among the stack's BigPandaHosts",
            ),
            (
                ("bigpanda", "base_url"),
                "https://api.bigpanda.io:99",
                "bigpanda.base_url: it has a port other than 443",
            ),
            (("policy", "notify_on", 0), "touched", "policy.notify_on.0: must be one of opened, worsened, eased, grew"),
            (("policy", "notify_on"), ["opened", "opened"], "policy.notify_on: must not name anything twice"),
            (("policy", "max_per_minute"), 0, "policy.max_per_minute: must be 1 or more"),
            (("policy", "max_age_seconds"), 10**9, "policy.max_age_seconds: must be 1209600 or less"),
            (("policy", "max_per_minute"), True, "policy.max_per_minute: must be of type integer"),
            (("policy", "max_per_minute"), 1.5, "policy.max_per_minute: must be of type integer"),
            (
                ("policy", "max_per_minute_per_recipients"),
                0,
                "policy.max_per_minute_per_recipients: must be 1 or more",
            ),
            (("policy", "max_age_seconds"), 59, "policy.max_age_seconds: must be 60 or more"),
            (("policy", "flap"), {"transitions": 4}, "policy.flap: needs minutes"),
            (("policy", "flap"), {"transitions": 1, "minutes": 5}, "policy.flap.transitions: must be 2 or more"),
            (("policy", "flap"), {"transitions": 21, "minutes": 5}, "policy.flap.transitions: must be 20 or less"),
            (("policy", "flap"), {"transitions": 4, "minutes": 0.5}, "policy.flap.minutes: must be 1 or more"),
            (("policy", "flap"), {"transitions": 4, "minutes": 1441}, "policy.flap.minutes: must be 1440 or less"),
            (("policy", "body"), "sms", "policy.body: must be one of bigpanda, xmatters"),
            (("policy", "priorities"), {"critical": "URGENT"}, "policy.priorities.critical: must be one of HIGH,"),
            (("policy", "properties"), {"team": 7}, "policy.properties.team: must be of type string"),
            (("policy", "routes"), [{"when": {}}], "policy.routes.0: needs recipients"),
            (
                ("policy", "routes"),
                [{"when": {"status": "*"}, "recipients": [f"{n} {'é' * 100}" for n in range(4)]}],
                "policy.routes.0.recipients: must have 2048 characters in all",
            ),
            (
                ("xmatters", "recipients"),
                [f"group {n} {'x' * 180}" for n in range(12)],
                "xmatters.recipients: must have 2048 characters in all",
            ),
            (
                ("policy", "routes"),
                [{"when": {"colour": "x"}, "recipients": ["a"]}],
                "policy.routes.0.when: unknown key",
            ),
            (
                ("policy", "routes"),
                [{"when": {"tag.": "x"}, "recipients": ["a"]}],
                "policy.routes.0.when: unknown key tag.",
            ),
            (
                ("policy", "routes"),
                [{"when": {"status": 7}, "recipients": ["a"]}],
                "policy.routes.0.when.status: must be of type string or array",
            ),
            (
                ("policy", "routes"),
                [{"when": {"status": ""}, "recipients": ["a"]}],
                "policy.routes.0.when.status: must not",
            ),
            (("policy", "routes"), [{"when": {}, "recipients": ["a,b"]}], "policy.routes.0.recipients.0: must not"),
            (
                ("policy", "routes"),
                [{"when": {f"tag.{n}": "x" for n in range(11)}, "recipients": ["a"]}],
                "policy.routes.0.when: must have 10 keys at most",
            ),
            (("xmatters", "callback"), {}, "xmatters.callback: needs basic or token"),
            (("xmatters", "callback"), {"token": "a b"}, "xmatters.callback.token: must be printable ASCII"),
            (("xmatters", "responses"), {"ack": []}, "xmatters.responses: unknown key ack"),
            (("bigpanda", "reconcile"), "yes", "bigpanda.reconcile: must be one of report, ring, true, false"),
            (("bigpanda", "reconcile"), 1, "bigpanda.reconcile: must be one of report, ring, true, false"),
            (("bigpanda", "environments"), [nested(2000)], "bigpanda.environments.0: must be of type string"),
            (("bigpanda", "comments"), ["answers"], "bigpanda.comments.0: must be one of response,"),
            (("bigpanda", "assign"), "yes", "bigpanda.assign: must be of type boolean"),
            (("policies",), {}, "the secret: unknown key policies"),
            ((), [], "the secret: must be of type object"),
            ((), {}, "the secret: needs inbound, xmatters"),
            (
                ("xmatters", "trigger_url"),
                "https://a.xmatters.com/\ud800",
                "the secret holds a character that is cut in half",
            ),
        ],
    )
    def test_invalid_secret_is_refused_with_the_key_that_is_wrong(
        self, path: tuple[Any, ...], value: Any, message: str
    ) -> None:
        assert complaint(changed(path, value)).startswith(message)

    @pytest.mark.parametrize("text", ["", "{", CANARY, "[" * 100_000, '{"policy": NaN}', "null"])
    def test_secret_that_is_no_json_object_is_refused_without_quoting_it(self, text: str) -> None:
        with pytest.raises(InvalidChannel) as caught:
            parse_channel("noc", text, HOSTS)
        assert CANARY not in str(caught.value)

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
    def test_secret_with_a_number_that_json_does_not_have_is_refused(self, number: str) -> None:
        text = json.dumps(WHOLE).replace('"max_per_minute": 60', f'"max_per_minute": {number}')
        with pytest.raises(InvalidChannel, match="not JSON"):
            parse_channel("noc", text, HOSTS)

    @pytest.mark.parametrize("path", list(positions(WHOLE)), ids=lambda path: ".".join(map(str, path)) or "whole")
    def test_refusal_of_a_secret_never_quotes_a_value(self, path: tuple[Any, ...]) -> None:
        wrong = [
            CANARY,
            f"{CANARY},{CANARY}",
            f"https://{CANARY}.evil.com/?apiKey={CANARY}",
            f"https://{CANARY}:{CANARY}@acme.xmatters.com/",
            f"https://acme.xmatters.com:{CANARY}/",
            f"{CANARY}\ud800",
            CANARY * 1000,
            [CANARY],
            [CANARY, CANARY],
            {"type": CANARY},
            {"type": "basic", "username": CANARY},
            {"x": CANARY},
            7,
            -1,
            1e308,
            True,
            None,
            "",
        ]
        complaints = []
        for value in wrong:
            try:
                parse_channel("noc", json.dumps(changed(path, value)), HOSTS)
            except InvalidChannel as error:
                complaints.append(str(error))
        assert complaints
        assert CANARY not in "".join(complaints)


class TestNames:
    @pytest.mark.parametrize("name", ["a", "0", "noc-1_eu", "a" * 48])
    def test_valid_channel_names_are_accepted(self, name: str) -> None:
        assert is_channel_name(name)

    @pytest.mark.parametrize("name", ["", "-a", "_a", "A", "a.b", "a/b", "a" * 49, "a\n", "ä", "a b", "../a", "%61"])
    def test_invalid_channel_names_are_refused(self, name: str) -> None:
        assert not is_channel_name(name)


class TestSecrets:
    @pytest.mark.parametrize("auth", [samples.BASIC, samples.KEY, samples.OAUTH], ids=lambda auth: auth["type"])
    def test_every_credential_of_a_channel_is_a_secret(self, auth: dict[str, str]) -> None:
        named = {"type", "username", "client_id"}
        assert {value for name, value in auth.items() if name not in named} | {samples.TOKEN} <= samples.parsed(
            samples.secret(auth=auth)
        ).secrets()

    def test_previous_credentials_are_secrets(self) -> None:
        assert {"new-token", "old-token", "pä:ss", "old"} <= samples.ROTATED.secrets()

    @pytest.mark.parametrize("name", ["apiKey", "apikey", "APIKEY", "api-key", "sig"])
    def test_api_key_in_the_trigger_url_is_a_secret_raw_and_decoded(self, name: str) -> None:
        url = f"https://acme.xmatters.com/x?a=1&{name}=k%2Fe+y&b=2"
        assert {url, "k%2Fe+y", "k/e y"} <= samples.parsed(samples.secret(url=url)).secrets()

    def test_empty_api_key_in_the_trigger_url_is_no_secret(self) -> None:
        url = "https://acme.xmatters.com/x?apiKey="
        assert samples.parsed(samples.secret(url=url)).secrets() == {url, samples.TOKEN}


def test_every_kind_of_credentials_has_a_schema() -> None:
    assert set(AUTH) == {"url", "basic", "api_key", "oauth"}


@pytest.mark.parametrize("inbound", [{"token": "t~!"}, {"basic": {"username": "u", "password": "p:ä"}}])
def test_header_for_bigpanda_is_admitted_by_the_channel(inbound: dict[str, Any]) -> None:
    header = channel.header_for(inbound)
    found = samples.parsed(samples.secret(inbound=inbound))
    assert found.accepts({header["name"].lower(): header["value"]}, NOW)

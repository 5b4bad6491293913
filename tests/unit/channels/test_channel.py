"""A channel's secret: what is parsed, what is refused and with which words, and what counts as a secret."""

import base64
import hmac
import json
from typing import Any

import pytest

from relay.channels import channel, misconfiguration, token
from relay.channels.channel import Channel, is_channel_name
from relay.channels.parsing import parse_channel
from relay.failures import InvalidChannel
from relayctl.channel import checks
from tests import samples
from tests.every_setting import CANARY, every_setting
from tests.fakes import HOSTS
from tests.unit.channels.test_schema import place_in, places
from tests.unit.xmatters_tenant import REST

WHOLE = every_setting("noc", "oauth")
ACTIONS = {"api_key": "BPU-1", "environment_id": "e1", "actions": {"Resolve": {"do": "resolve"}}}


def changed(path: tuple[Any, ...], value: Any) -> Any:
    """Return the whole secret with another value in one place."""
    root, holder, key = place_in(WHOLE, path)
    holder[key] = value
    return root["root"]


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def routed(**route: Any) -> list[dict[str, Any]]:
    return [{"when": {"status": "*"}, "recipients": ["a"]} | route]


def test_complete_secret_is_parsed_and_shows_no_credential() -> None:
    found = parse_channel("noc", json.dumps(WHOLE), HOSTS)
    assert (found.name, found.trigger_url) == ("noc", WHOLE["xmatters"]["trigger_url"])
    assert (found.auth.type, found.recipients) == ("oauth", tuple(WHOLE["xmatters"]["recipients"]))
    assert [each.expires_at for each in found.inbound] == [None, 1_896_091_200.0]
    assert CANARY not in repr(found)


def test_notification_of_a_device_is_awaited_by_default_if_xmatters_can_be_asked_for_it() -> None:
    found = made(recipients=["Ops"]), made(recipients=["Ops"], rest=REST)
    assert [each.policy.notified_within_seconds for each in found] == [0, 300]


OWN, OF_ANOTHER = (token.make(name, "inbound", min) for name in ("noc", "other"))
NOT_MADE = ": begins with bpr_ and was not made for this channel and endpoint"


# One row for each kind of complaint and each bound; `test_schema` compares all values with a reference.
@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("inbound", {}, ": needs basic or token"),
        ("xmatters.callback", {}, ": needs basic or token"),
        ("inbound.previous", {"token": "t"}, ": needs expires_at"),
        ("inbound.previous", {"expires_at": "2030-01-31T12:00:00Z"}, ": needs basic or token"),
        (
            "inbound.previous.expires_at",
            "2030-01-31T12:00:00",
            ": must be an ISO 8601 time with an offset, such as 2030",
        ),
        ("inbound.token", "tok\n", ": must be printable ASCII without spaces"),
        ("inbound.token", "x" * 4097, ": must have 4096 characters at most"),
        *(("inbound.token", each, NOT_MADE) for each in (OF_ANOTHER, token.make("noc", "callback", min), OWN[:-1])),
        ("inbound.previous.token", OF_ANOTHER, NOT_MADE),
        ("xmatters.trigger_url", "https://acme.xmatters.com/a b", ": must be a URL"),
        ("xmatters.trigger_url", "http://acme.xmatters.com/", ": it is not https"),
        ("xmatters.trigger_url", "https://api.bigpanda.io/x", ": its host is not among the stack's XMattersHosts"),
        ("xmatters.auth.type", "ntlm", ": must be one of url, basic, api_key, oauth"),
        ("xmatters.auth", {"type": "api_key", "key": "k"}, ": needs secret"),
        ("xmatters.auth", {"type": "url", "x": nested(2000)}, ": unknown key x"),
        ("xmatters.recipients.0", "a,b", ": must not be blank or hold a comma"),
        ("xmatters.recipients", ["r"] * 101, ": must have 100 items at most"),
        *(
            (each, [f"group {n} {'x' * 180}" for n in range(12)], ": must have 2048 characters in all")
            for each in ("xmatters.recipients", "policy.unanswered_recipients")
        ),
        ("bigpanda.base_url", "https://acme.xmatters.com", ": its host is not among the stack's BigPandaHosts"),
        ("bigpanda.base_url", "https://api.bigpanda.io:99", ": it has a port other than 443"),
        ("bigpanda.reconcile", "yes", ": must be one of report, ring, true, false"),
        ("bigpanda.environments", [nested(2000)], ".0: must be of type string"),
        ("policy.notify_on", ["opened", "opened"], ": must not name anything twice"),
        ("policy.max_per_minute", 0, ": must be 1 or more"),
        ("policy.max_per_minute", True, ": must be of type integer"),
        ("policy.max_age_seconds", 10**9, ": must be 1209600 or less"),
        ("policy.flap", {"transitions": 4}, ": needs minutes"),
        ("policy.pauses", [samples.pause("wait")], ".0.then: must be one of keep, drop"),
        ("policy.pauses", [samples.pause("keep") | {"until": "soon"}], ".0.until: must be an ISO 8601 time"),
        ("policy.pauses", [samples.pause("keep") | {"until": " 2030-01-31T12:00:00Z"}], ".0.until: must be an ISO"),
        ("policy.pauses", [samples.pause("keep", since=9, until=0)], ".0.until: must not be before since"),
        ("policy.pauses", [samples.pause("keep", when={})], ".0.when"),
        ("policy.routes", [{"when": {}}], ".0: needs recipients"),
        ("policy.routes", routed(recipients=[f"{n} {'é' * 100}" for n in range(4)]), ".0.recipients: must have 2048"),
        ("policy.routes", routed(when={"tag.": "x"}), ".0.when: unknown key tag."),
        ("policy.routes", routed(when={"status": ""}), ".0.when.status: must not"),
        ("policy.routes", routed(when={f"tag.{n}": "x" for n in range(11)}), ".0.when: must have 10 keys at most"),
    ],
)
def test_invalid_secret_is_refused_with_the_key_that_is_wrong(place: str, value: Any, message: str) -> None:
    path = tuple(int(step) if step.isdecimal() else step for step in place.split("."))
    with pytest.raises(InvalidChannel) as caught:
        parse_channel("noc", json.dumps(changed(path, value)), HOSTS)
    assert str(caught.value).startswith(f"{place}{message}")


WITH_REST = {"rest": REST}


@pytest.mark.parametrize(
    ("policy", "xmatters", "bigpanda", "message"),
    [
        # Nothing could prove it, or not in that time.
        *(
            ({f"{step}_within_seconds": 59}, samples.CALLBACK, {}, f"{step}_within_seconds")
            for step in ("notified", "answered")
        ),
        *(({f"{step}_within_seconds": 60}, {}, {}, f"{step}_within_seconds") for step in ("notified", "answered")),
        ({"notified_within_seconds": 60}, {}, {"api_key": "BPU-1"}, "notified_within_seconds"),
        ({"unanswered_recipients": ["Boss"]}, samples.CALLBACK, {}, "unanswered_recipients"),
        # BigPanda or people would hear of a canary, or it would prove nothing.
        ({"canary": True}, WITH_REST, {"api_key": "BPU-1"}, "needs a channel without bigpanda"),
        *(
            ({"canary": True, "notified_within_seconds": each}, WITH_REST, {}, "needs policy.notified_within_seconds")
            for each in (0, 301)
        ),
        (
            {"canary": True, "unanswered_recipients": ["Boss"]},
            WITH_REST,
            {},
            "needs a channel without unanswered_recipients",
        ),
        # Nobody could verify who answers.
        ({}, samples.CALLBACK, ACTIONS, r"bigpanda\.actions: resolve and snooze need xmatters\.rest"),
        *(
            ({}, WITH_REST, ACTIONS | {"actions": {"Done": action}}, "snooze needs minutes, and nothing else has them")
            for action in ({"do": "snooze"}, {"do": "resolve", "minutes": 5})
        ),
    ],
)
def test_setting_that_the_others_make_impossible_is_refused(
    policy: dict[str, Any], xmatters: dict[str, Any], bigpanda: dict[str, Any], message: str
) -> None:
    document = samples.secret(policy=policy)
    document |= {"bigpanda": bigpanda} if bigpanda else {}
    document["xmatters"] |= xmatters
    with pytest.raises(InvalidChannel, match=message):
        samples.parsed(document)


@pytest.mark.parametrize(
    "text",
    ["", "{", CANARY, "[" * 100_000, "null", *(f'{{"policy": {each}}}' for each in ("NaN", "Infinity", "-Infinity"))],
)
def test_secret_that_is_no_json_object_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(InvalidChannel) as caught:
        parse_channel("noc", text, HOSTS)
    assert CANARY not in str(caught.value)


def test_refusal_of_a_secret_never_quotes_a_value() -> None:
    wrong = [
        *(CANARY, f"{CANARY},{CANARY}", f"https://{CANARY}.evil.com/?apiKey={CANARY}", f"{CANARY}\ud800"),
        *(f"https://{CANARY}:{CANARY}@acme.xmatters.com/", f"https://acme.xmatters.com:{CANARY}/", CANARY * 1000),
        f"bpr_{CANARY}",
        *([CANARY], [CANARY, CANARY], {"type": CANARY}, {"type": "basic", "username": CANARY}, {"x": CANARY}),
        *(7, -1, 1e308, True, None, ""),
    ]
    for path in places(WHOLE):
        complaints = []
        for value in wrong:
            try:
                parse_channel("noc", json.dumps(changed(path, value)), HOSTS)
            except InvalidChannel as error:
                complaints.append(str(error))
        assert complaints, path
        assert CANARY not in "".join(complaints), path


@pytest.mark.parametrize(
    ("name", "is_valid"),
    [
        *((each, True) for each in ("a", "0", "noc-1_eu", "a" * 48)),
        *((each, False) for each in ("", "-a", "_a", "A", "a.b", "a/b", "a" * 49, "a\n", "ä", "a b", "../a", "%61")),
    ],
)
def test_channel_name_is_of_the_contracts_pattern(name: str, is_valid: bool) -> None:
    assert is_channel_name(name) is is_valid


class TestSecrets:
    @pytest.mark.parametrize("auth", [samples.BASIC, samples.KEY, samples.OAUTH], ids=lambda auth: auth["type"])
    def test_every_credential_of_a_channel_is_a_secret(self, auth: dict[str, str]) -> None:
        named = {"type", "username", "client_id"}
        secret = {value for name, value in auth.items() if name not in named}
        assert secret | {samples.TOKEN} <= samples.parsed(samples.secret(auth=auth)).secrets()

    @pytest.mark.parametrize("name", ["apiKey", "APIKEY", "api-key", "sig"])
    def test_api_key_in_the_trigger_url_is_a_secret_raw_and_decoded(self, name: str) -> None:
        url = f"https://acme.xmatters.com/x?a=1&{name}=k%2Fe+y&b=2"
        assert {url, "k%2Fe+y", "k/e y"} <= samples.parsed(samples.secret(url=url)).secrets()


@pytest.mark.parametrize("inbound", [{"token": "t~!"}, {"basic": {"username": "u", "password": "p:ä"}}])
def test_header_for_bigpanda_is_admitted_by_the_channel(inbound: dict[str, Any]) -> None:
    header = channel.header_for(inbound)
    found = samples.parsed(samples.secret(inbound=inbound))
    assert found.accepts({header["name"].lower(): header["value"]}, 1_800_000_000.0)


NOW = 1_800_000_000.0


def basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


class TestAccepts:
    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": "Bearer new-token"},
            {"authorization": "bearer   new-token "},
            {"x-api-key": "new-token"},
            {"authorization": basic("bigpanda:pä:ss".encode())},
            {"authorization": basic("bigpanda:pä:ss".encode()).replace("Basic", "BASIC")},
            {"authorization": "Bearer wrong", "x-api-key": "new-token"},
        ],
    )
    def test_valid_credentials_are_admitted_in_every_accepted_header(self, headers: dict[str, str]) -> None:
        assert samples.ROTATED.accepts(headers, NOW)

    # `Channel.accepts` takes `any` over the offered credentials, which is false for an empty list.
    def test_missing_header_is_never_admitted(self) -> None:
        for document in (samples.secret(), samples.secret(inbound={"basic": {"username": "u", "password": "p"}})):
            assert not samples.parsed(document).accepts({}, NOW)
            assert not samples.parsed(document).accepts({"content-type": "application/json"}, NOW)

    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": ""},
            {"authorization": "Bearer "},
            {"authorization": "Bearer new-toke"},
            {"authorization": "Bearer NEW-TOKEN"},
            {"authorization": "Bearer \ud800"},
            {"authorization": "Basic !!!"},
            {"authorization": basic(b"new-token")},
            {"authorization": basic(b"bigpanda:new-token")},
            {"authorization": basic("bigpanda:pä:ss".encode("latin-1"))},
            {"x-api-key": "bigpanda:pä:ss"},
            {"x-api-key": "Bearer new-token"},
        ],
        ids=str,
    )
    def test_invalid_credentials_are_not_admitted(self, headers: dict[str, str]) -> None:
        assert not samples.ROTATED.accepts(headers, NOW)

    @pytest.mark.parametrize("headers", [{"x-api-key": "old-token"}, {"authorization": basic(b"bigpanda:old")}])
    def test_previous_credentials_are_admitted_until_they_expire(self, headers: dict[str, str]) -> None:
        assert samples.ROTATED.accepts(headers, NOW - 0.001)
        assert not samples.ROTATED.accepts(headers, NOW)

    def test_every_credential_is_compared_in_constant_time_even_after_one_fits(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compared, real = [], hmac.compare_digest

        def spy(secret: bytes, offer: bytes) -> bool:
            compared.append((secret, offer))
            return real(secret, offer)

        monkeypatch.setattr(hmac, "compare_digest", spy)
        assert samples.ROTATED.accepts({"authorization": "Bearer new-token", "x-api-key": "new-token"}, NOW - 1)
        assert len(compared) == 2 * 4


UUID = "3e1c8c1e-0f0e-4d8c-9d3d-1f6a2b7c9d10"
HOST = "https://acme.xmatters.com"
TRIGGER = f"{HOST}/api/integration/1/functions/{UUID}/triggers"
CANARY_TOKEN = "canary-90ab"
TO_OPS = {"when": {"status": "warning"}, "recipients": ["Ops"]}


FLAP = {"flap": {"transitions": 4, "minutes": 10}, "notify_on": ["opened", "worsened", "reopened"]}


def made(
    *, url: str = TRIGGER, routes: list[dict[str, Any]] | None = None, policy: Any = None, **xmatters: Any
) -> Channel:
    document = {
        "inbound": {"token": CANARY_TOKEN},
        "xmatters": {"trigger_url": url, "auth": {"type": "url"}, **xmatters},
        "policy": {"routes": routes or []} | (policy or {}),
    }
    return parse_channel("noc", json.dumps(document), HOSTS)


def keys(found: Channel) -> list[str]:
    return [problem.key for problem in misconfiguration.problems(found)]


@pytest.mark.parametrize(
    ("found", "key"),
    [
        (made(recipients=["Ops"], routes=[TO_OPS, {"when": {}, "recipients": ["Ops"]}]), "policy.routes.1.when"),
        (
            made(recipients=["Ops"], routes=[{"when": {"status": "critical"}, "recipients": []}]),
            "policy.routes.0.recipients",
        ),
        (made(), "xmatters.recipients"),
        (made(recipients=[]), "xmatters.recipients"),
        (made(url=f"{TRIGGER}?apiKey={CANARY_TOKEN}&recipients=%20,"), "xmatters.recipients"),
        (made(url=f"{HOST}/?apiKey={CANARY_TOKEN}", recipients=["Ops"]), "xmatters.trigger_url"),
        (made(url=f"{HOST}/api/xm/1/events", recipients=["Ops"]), "xmatters.trigger_url"),
        (made(url=f"{HOST}/api/integration/1/functions//triggers", recipients=["Ops"]), "xmatters.trigger_url"),
        (made(url=f"{TRIGGER}/more", recipients=["Ops"]), "xmatters.trigger_url"),
        (made(recipients=["Ops"], rest=REST, policy=FLAP), "policy.flap"),
    ],
)
def test_channel_that_may_notify_nobody_has_a_problem_with_its_key(found: Channel, key: str) -> None:
    assert keys(found) == [key]
    assert CANARY_TOKEN not in repr(misconfiguration.problems(found))


@pytest.mark.parametrize(
    "found",
    [
        made(recipients=["Ops"], policy=FLAP),
        made(routes=[TO_OPS]),
        made(url=f"{HOST}/reapi/2015-04-01/forms/{UUID}/triggers", recipients=["Ops"]),
        made(url=f"{HOST}/proxy", recipients=["Ops"], any_trigger_path=True),
    ],
    ids=["flap rule without pages to end", "recipients in a route alone", "old form without pages to find", "any path"],
)
def test_channel_whose_signals_reach_people_has_no_problem(found: Channel) -> None:
    assert (keys(found), misconfiguration.unprovable(found)) == ([], [])


def test_answer_may_be_awaited_if_bigpanda_alone_can_prove_it() -> None:
    document = samples.secret(policy={"answered_within_seconds": 60}) | {"bigpanda": {"api_key": "BPU-1"}}
    assert samples.parsed(document).asks_about_answers


@pytest.mark.parametrize(
    ("found", "key"),
    [
        (made(recipients=["Ops"], rest=REST | {"auth": {"type": "url"}}), "xmatters.rest.auth"),
        (made(url=f"{HOST}/reapi/2015-04-01/forms/{UUID}/triggers", recipients=["Ops"], rest=REST), "xmatters.rest"),
    ],
)
def test_channel_whose_pages_cannot_be_found_rings_and_is_told_of(found: Channel, key: str) -> None:
    assert ([each.key for each in misconfiguration.unprovable(found)], keys(found)) == ([key], [])


@pytest.mark.parametrize(
    "path",
    [
        f"/api/integration/1/functions/{UUID}/triggers",
        f"/reapi/2015-04-01/forms/{UUID}/triggers",
        f"/api/xm/1/forms/{UUID}/triggers",
        f"/api/xm/1/plans/{UUID}/forms/My%20Form/triggers",
    ],
)
def test_each_documented_trigger_path_is_accepted(path: str) -> None:
    assert keys(made(url=f"{HOST}{path}?apiKey=k", recipients=["Ops"])) == []


@pytest.mark.parametrize(
    ("when", "is_reached"),
    [
        ({"status": "critical"}, True),
        ({"status": ["warning", "CRIT*"]}, True),
        ({"status": "*"}, True),
        ({"status": "warning"}, False),
        ({"status": "critical", "tag.team": "payments"}, False),
        ({"severity": "critical"}, False),
        ({"environment": "*"}, False),
    ],
)
def test_route_covers_every_critical_only_if_its_condition_is_the_status_alone(
    when: dict[str, Any], is_reached: bool
) -> None:
    found = made(routes=[TO_OPS, {"when": when, "recipients": ["Ops"]}])
    assert checks.may_notify_nobody(found) is not is_reached


def test_secret_that_holds_half_a_character_is_refused() -> None:
    halved = changed(("xmatters", "trigger_url"), "https://a.xmatters.com/\ud800")
    with pytest.raises(InvalidChannel, match="the secret holds a character that is cut in half"):
        parse_channel("noc", json.dumps(halved), HOSTS)


def test_whole_number_with_a_decimal_point_is_an_integer_and_names_have_no_blanks_around_them() -> None:
    policy = {"flap": {"transitions": 3.0, "minutes": 5}, "body": "xmatters", "max_property_length": 100.0}
    others = {"notified_within_seconds": 300, "unanswered_recipients": [" Duty "]}
    secret = samples.secret(policy=policy | others, url=None)
    secret["xmatters"] |= {"rest": REST}
    found = samples.parsed(secret).policy
    assert found.flap is not None
    assert found.own_body is not None
    assert (repr(found.flap.transitions), repr(found.own_body.max_length)) == ("3", "100")
    assert found.unanswered_recipients == ("Duty",)

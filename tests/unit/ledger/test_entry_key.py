import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ledger.entry_key import key
from tests.fake_dynamodb import MAX_KEY_BYTES


class TestKey:
    def test_key_names_channel_recipients_and_incident(self) -> None:
        name = key("noc", ("Network Operations",), "66b0")
        assert name == f"incident/noc/{key('noc', ('Network Operations',), '').split('/')[2]}/66b0"
        others = {key("noc2", ("Network Operations",), "66b0"), key("noc", (), "66b0"), key("noc", ("x",), "66b0")}
        assert len(others | {name}) == 4

    def test_key_does_not_depend_on_the_order_of_recipients(self) -> None:
        assert key("noc", ("a", "b"), "i1") == key("noc", ("b", "a"), "i1")

    def test_key_takes_an_incident_id_with_slashes(self) -> None:
        assert key("noc", (), "a/b/../c").endswith("/a/b/../c")
        assert key("noc", (), "a/b").split("/")[2] == key("noc", (), "c").split("/")[2]

    @pytest.mark.parametrize(
        "incident_id",
        ["\ud800", "a\udfff", "\ud83d\ude00", "\U0001f600" * 512, "\ud800" * 512, "x" * 512, "ü" * 512, "\x00\n", " "],
        ids=repr,
    )
    def test_key_fits_into_dynamodb_whatever_the_incident_id_is(self, incident_id: str) -> None:
        name = key("a" * 48, ("x" * 200,) * 100, incident_id)
        assert 0 < len(name.encode()) <= MAX_KEY_BYTES

    @given(st.text(st.characters(), min_size=1, max_size=4), st.text(st.characters(), min_size=1, max_size=4))
    def test_different_incident_ids_have_different_keys(self, one: str, other: str) -> None:
        assert (key("noc", (), one) == key("noc", (), other)) == (one == other)

    @pytest.mark.parametrize(("one", "other"), [("\ud800", "\\ud800"), ("\ud800", "\ufffd"), ("\ud800", "?")])
    def test_key_of_an_odd_incident_id_differs_from_that_of_its_spelling(self, one: str, other: str) -> None:
        assert key("noc", (), one) != key("noc", (), other)

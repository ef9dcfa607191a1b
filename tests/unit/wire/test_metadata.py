"""Names and tags: which are allowed, and what a merge patch leaves unchanged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from custody.control_plane.resources.external_ids import body_digest
from custody.wire.algorithms import Network, Store
from custody.wire.metadata import MAX_TAGS, UpdateMetadata
from custody.wire.requests import CreateWallet

WALLET = CreateWallet(network=Network.ETHEREUM, store=Store.HSM)


@pytest.mark.parametrize(
    "name", ["A", "Käse & Brot", "金庫", "two  words", "x" * 100, "👩👩👧", "0x00", "it's; DROP"]
)
def test_names_of_people(name: str) -> None:
    assert UpdateMetadata(name=name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " a",
        "a ",
        "a\n",
        "a\x00b",
        "a\tb",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "pay \u202eecila",
        "a\u2066b",
        "x" * 101,
    ],
)
def test_names_that_show_as_something_else_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        UpdateMetadata(name=name)


@pytest.mark.parametrize(
    ("field", "bad", "rule"),
    [
        ("name", "a ", "a name has no spaces at its ends"),
        ("name", "a\nb", "no control characters"),
        ("tags", ["two words"], "a tag consists of a-z, A-Z, 0-9 and"),
        ("name", "", "at least 1 character"),
        ("tags", ["x" * 51], "at most 50 characters"),
    ],
)
def test_a_refusal_says_the_rule_in_words(field: str, bad: object, rule: str) -> None:
    with pytest.raises(ValidationError, match=rule) as caught:
        UpdateMetadata.model_validate({field: bad})
    assert "pattern" not in str(caught.value)


@pytest.mark.parametrize(
    "code",
    [
        0x00AD,  # soft hyphen
        0x034F,
        0x061C,  # Arabic letter mark
        0x115F,
        0x180E,
        *range(0x200B, 0x2010),  # zero-width space and joiners, marks of direction
        *range(0x2060, 0x2066),
        0x206A,
        0x3164,  # Hangul filler
        *range(0xFE00, 0xFE10),  # variation selectors
        0xFEFF,  # byte order mark
        0xFFA0,
        0xFFF9,
        0x1D173,
        0xE0001,
        0xE0041,  # a tag: hidden text in ASCII
        0xE0100,
        0xE0FFF,
    ],
    ids=hex,
)
def test_a_character_that_is_not_shown_is_refused_wherever_it_is(code: int) -> None:
    """Two names would look alike, or a name would have text that nobody sees."""
    for name in (f"Trea{chr(code)}sury", f"{chr(code)}Treasury", f"Treasury{chr(code)}", chr(code)):
        with pytest.raises(ValidationError, match=rf"U\+{code:04X} is not shown"):
            UpdateMetadata(name=name)


@pytest.mark.parametrize("tag", ["a", "customer:42", "env=prod", "a/b.c_d+e@f-g", "Z" * 50])
def test_tags(tag: str) -> None:
    assert UpdateMetadata(tags=[tag]).tags == [tag]


@pytest.mark.parametrize("tag", ["", " ", "a b", "a,b", "a&b", "é", "'", "a\n", "Z" * 51])
def test_tags_that_a_query_could_not_carry_are_refused(tag: str) -> None:
    with pytest.raises(ValidationError):
        UpdateMetadata(tags=[tag])


def test_a_tag_is_given_once_and_not_too_many() -> None:
    with pytest.raises(ValidationError, match="each tag once"):
        UpdateMetadata(tags=["a", "a"])
    many = [f"tag-{number}" for number in range(MAX_TAGS + 1)]
    assert len(UpdateMetadata(tags=many[:-1]).tags or ()) == MAX_TAGS
    with pytest.raises(ValidationError, match="at most 20 items"):
        UpdateMetadata(tags=many)


def test_null_and_left_out_differ() -> None:
    assert UpdateMetadata.model_validate_json('{"name": null}').model_fields_set == {"name"}
    assert UpdateMetadata.model_validate_json("{}").model_fields_set == set()


def test_another_field_is_an_error() -> None:
    with pytest.raises(ValidationError):
        UpdateMetadata.model_validate_json('{"label": "a"}')


@given(st.sampled_from(["A name", None]), st.sets(st.sampled_from(["a", "b", "c"])))
def test_metadata_do_not_identify_a_request(name: str | None, tags: set[str]) -> None:
    """A control plane that lost its database does not know them, and the request is the same."""
    told = WALLET.model_dump(mode="json") | {"name": name, "tags": list(tags)}
    named = CreateWallet.model_validate_json(json.dumps(told))
    assert body_digest(named) == body_digest(WALLET)
    assert set(named.tags or ()) == tags

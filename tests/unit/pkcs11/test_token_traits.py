"""Which settings of a token's traits are accepted, and what they mean."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from custody.pkcs11.token_section import TokenSection, token_traits
from custody.pkcs11.token_traits import DEFAULT_TRAITS, TokenTraits, retry_pin, token_name


def traits(**given: Any) -> TokenTraits:
    section = {"module": "/m.so", "token_label": "t", "pin_file": "/pin", **given}
    return token_traits(TokenSection.model_validate(section, context={"folder": Path("/")}))


def test_without_settings_nothing_differs():
    assert traits() == DEFAULT_TRAITS


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("AES_KEY_WRAP_KWP", "AES_KEY_WRAP_KWP"),
        ("CKM_AES_KEY_WRAP_PAD", "AES_KEY_WRAP_PAD"),
        (0x2109, "AES_KEY_WRAP"),
        ("0x210b", "AES_KEY_WRAP_KWP"),
        (0x80000171, "0x80000171"),
        ("0x8000216F", "0x8000216f"),
        ("0xFFFFFFFF", "0xffffffff"),
    ],
)
def test_a_wrap_mechanism_has_one_name(given: str | int, name: str):
    assert traits(wrap_mechanisms=[given]).wrap_mechanisms == (name,)


@pytest.mark.parametrize(
    "given",
    ["AES_CBC", "AES_GCM", 0x1087, "0x1085", 0, -1, "", "0x", "KWP", "0x7fffffff", 0x100000000],
)
def test_what_is_not_a_wrap_mechanism_is_refused(given: str | int):
    """A mechanism without a checksum would unwrap keys that somebody changed."""
    with pytest.raises(ValidationError, match="0x80000171"):
        traits(wrap_mechanisms=[given])


def test_the_command_that_retries_a_pin_names_the_token_for_a_shell():
    command = retry_pin(token_name("HSM 1", "12ab", None))
    assert command == "master-key check --token 'HSM 1, serial 12ab' --retry-pin"


@pytest.mark.parametrize(
    "wrong",
    [
        {"master_key_without": ["SENSITIVE"]},
        {"gcm_iv": "both"},
        {"login": "so"},
        {"login": "none"},  # beside a pin_file
        {"pin_file": None},
        {"slot": -1},
        {"token_serial": ""},
        {"token_serial": "1" * 17},
        {"sessions": "rw"},
    ],
)
def test_a_wrong_value_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        traits(**wrong)

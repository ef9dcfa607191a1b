"""The attributes without which a restored master key is not accepted."""

from typing import Any

import pytest

from custody.pkcs11.master_key import weaknesses_of_restored
from custody.pkcs11.messages import MasterKeyRecord

STRONG: dict[str, Any] = {
    "name": "custody/1",
    "label": "custody",
    "version": 1,
    "check_value": bytes(32),
    "purpose": "wraps keys",
    "made_inside": False,
    "sensitive": True,
    "extractable": False,
    "modifiable": False,
    "copyable": False,
}


def weaknesses(allowed: bool = False, **changes: Any) -> list[str]:
    return weaknesses_of_restored(MasterKeyRecord(**STRONG | changes), allowed)


def test_a_key_as_it_was_generated_has_no_weakness():
    assert weaknesses() == []
    assert weaknesses(copyable=None) == []  # the token does not know the attribute
    assert weaknesses(allowed=True) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"sensitive": False}, "not sensitive"),
        ({"extractable": True}, "extractable"),
        ({"modifiable": True}, "modifiable"),
        ({"copyable": True}, "copyable"),
    ],
)
def test_each_looser_attribute_is_a_weakness(changes: dict[str, bool], word: str):
    assert weaknesses(**changes) == [word]


def test_an_extractable_key_is_accepted_only_where_that_was_stated():
    record = MasterKeyRecord(**STRONG | {"extractable": True})
    assert weaknesses_of_restored(record, True) == []
    assert weaknesses_of_restored(record, False) == ["extractable"]

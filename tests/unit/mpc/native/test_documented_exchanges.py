"""The numbers of exchanges in the documents are those of the sessions."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, ED25519, key

ROOT = Path(__file__).parents[4]
ROW = re.compile(r"^\| (key generation|signing|refresh|repair) \| (\d) \| (\d) \|$", re.MULTILINE)
HEADING = re.compile(r"^## DKLs23: (DKG|signing|repair) \((\d) exchange", re.MULTILINE)


def exchanges_of(protocol: str) -> dict[str, int]:
    """Return the exchanges of each ceremony's session."""
    shares = key(protocol)
    sessions: dict[str, Mapping[int, Any]] = {
        "key generation": parties.dkg_sessions(protocol, 2, 3),
        "signing": parties.signing_sessions(shares, [1, 2], bytes(32)),
        "refresh": parties.refresh_sessions(shares),
        "repair": parties.repair_sessions(shares, 3, [1, 2]),
    }
    return {ceremony: sessions[ceremony][1].exchanges for ceremony in sessions}


@pytest.mark.parametrize(("protocol", "column"), [(DKLS, 1), (ED25519, 2)])
def test_the_table_of_exchanges_is_what_the_sessions_do(protocol: str, column: int):
    text = (ROOT / "docs/explanation/mpc.md").read_text("utf-8")
    documented = {row[0]: int(row[column]) for row in ROW.findall(text)}
    expected = exchanges_of(protocol)
    if protocol != DKLS:
        expected["signing"] -= 1  # the nonce commitments are in the hello
    assert documented == expected


def test_the_layout_of_messages_has_the_same_numbers():
    text = (ROOT / "mpc/native/MESSAGES.md").read_text("utf-8")
    expected = exchanges_of(DKLS)
    documented = {name: int(number) for name, number in HEADING.findall(text)}
    assert documented == {
        "DKG": expected["key generation"],
        "signing": expected["signing"],
        "repair": expected["repair"],
    }

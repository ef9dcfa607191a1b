"""The example of a gate: which requests it believes, and what its policy says."""

import importlib.util
import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.node.gate_messages import (
    FOLLOWS,
    GATED,
    ShownCopy,
    ShownImport,
    ShownRefresh,
    ShownRepair,
    ShownUnarchival,
    question_about,
    sign_question,
)
from custody.wire.algorithms import EDDSA_ED25519, Network, Store
from custody.wire.encoding import Model
from custody.wire.jobs import JobKind
from custody.wire.requests import SignHash, SignTransaction
from devstack.gate import EXAMPLE
from tests.made_up_keys import made_up_key
from tests.unit.node.requests import KEY as WALLET
from tests.unit.node.requests import NOW, complete, job_around

_spec = importlib.util.spec_from_file_location("example_gate", EXAMPLE / "handler.py")
assert _spec is not None
assert _spec.loader is not None
handler: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(handler)

SOLANA_KEY = made_up_key(EDDSA_ED25519)
KEY = b"0123456789abcdef"
BODY = b'{"kind": "Sign"}'
SENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEADER = sign_question(KEY, BODY, SENT)
POLICY = tomllib.loads((EXAMPLE / "policy.toml").read_text())


def test_a_question_that_the_node_has_just_signed_is_believed() -> None:
    for later in (-60, 0, 60):
        assert handler.is_from_node(KEY, HEADER, BODY, SENT.timestamp() + later)


@pytest.mark.parametrize(
    ("key", "header", "body", "later"),
    [
        (KEY, HEADER, BODY, 61),
        (KEY, HEADER, BODY, -61),
        (KEY, HEADER, BODY + b" ", 0),
        (b"another key of it", HEADER, BODY, 0),
        (KEY, HEADER.replace("t=", "t=1"), BODY, 0),
        (KEY, HEADER[:-1], BODY, 0),
        (KEY, HEADER + ",v1=00", BODY, 0),
        (KEY, HEADER.replace("v1", "v0"), BODY, 0),
        (KEY, "", BODY, 0),
    ],
)
def test_anything_else_is_not(key: bytes, header: str, body: bytes, later: int) -> None:
    assert not handler.is_from_node(key, header, body, SENT.timestamp() + later)


def decision(request: Any, policy: dict[str, Any] | None = None, **changes: Any) -> str:
    job = job_around(request, **changes)
    question = question_about(job, node="zurich-1", store=Store.HSM, application="shop", now=NOW)
    decided: str = handler.by_policy(policy or POLICY, question.model_dump(mode="json"))[0]
    return decided


def test_the_policy_as_it_comes() -> None:
    assert decision(complete()) == "approve"
    assert decision(complete(message="drain it")) == "reject"
    assert decision(complete(message="x" * 201)) == "pending"
    assert decision(complete(message="0xff")) == "pending"
    assert decision(SignHash(kind="Hash", hash=bytes(32))) == "pending"
    bare = {"network": None, **EDDSA_ED25519._asdict(), "public_key": SOLANA_KEY}
    keys = [WALLET.model_copy(update=bare | {"network": each}) for each in (None, Network.SOLANA)]
    transfer = "0x01000001" + SOLANA_KEY.hex() + bytes(32).hex() + "00"
    assert decision(complete(message=transfer), key=keys[0]) == "pending"
    transaction = SignTransaction(kind="Transaction", transaction=bytes.fromhex(transfer[2:]))
    assert decision(transaction, key=keys[1]) == "pending"


@pytest.mark.parametrize("by_hand", [POLICY["by_hand"], []])
@pytest.mark.parametrize(
    "shown",
    [
        ShownRefresh(),
        ShownRepair(signer="signer-2"),
        ShownImport(public_key=SOLANA_KEY),
        ShownCopy(signer_group="zurich", threshold=2, signers=("signer-4", "signer-5")),
        ShownUnarchival(),
    ],
    ids=lambda shown: shown.type,
)
def test_what_signs_nothing_waits_for_a_person(shown: Model, by_hand: list[str]) -> None:
    question = {
        "kind": JobKind.DEAL_SHARES.value,
        "application": "shop",
        "decoded": shown.model_dump(mode="json"),
    }
    assert handler.by_policy(POLICY | {"by_hand": by_hand}, question)[0] == "pending"


def test_the_policy_names_each_kind_that_is_gated_and_signs_nothing() -> None:
    assert set(POLICY["by_hand"]) == {*GATED.values(), *FOLLOWS.values()} - {JobKind.SIGN}


def test_only_the_applications_named_may_ask_where_any_are() -> None:
    assert decision(complete(), POLICY | {"applications": ["bank"]}) == "reject"
    assert decision(complete(), POLICY | {"applications": ["shop"]}) == "approve"

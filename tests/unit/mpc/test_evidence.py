"""What a signer believes of others' statements."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.node.errors import Denied
from custody.wire.algorithms import EDDSA_ED25519
from custody.wire.jobs import Endpoint
from custody.wire.signed_bytes import (
    ABANDONMENT_TYPE,
    CONFIRMATION_TYPE,
    PROMISE_TYPE,
    SignedBytes,
    SigningKey,
)
from custody.wire.statements import Abandonment, Confirmation, MadeFor, Promise, ShareStatement
from custody.wire.tickets import Protocol
from mpc.handlers.evidence import (
    require_abandonments,
    require_confirmations,
    require_promises,
    told_by_others,
)
from tests.made_up_keys import made_up_key

NAMES = ["signer-1", "signer-2", "signer-3"]
KEYS = {name: SigningKey(Ed25519PrivateKey.generate()) for name in (*NAMES, "signer-4")}
IDENTITIES = {name: signer.public_key for name, signer in KEYS.items()}
KEY, CEREMONY = uuid4(), uuid4()
OF_ALL = [
    pytest.param(CONFIRMATION_TYPE, Confirmation, require_confirmations, id="confirmations"),
    pytest.param(PROMISE_TYPE, Promise, require_promises, id="promises"),
]
Require = Callable[[list[SignedBytes], ShareStatement, dict[str, bytes]], None]


def said(index: int = 1, model: type[ShareStatement] = Promise, **changes: Any) -> ShareStatement:
    fields: dict[str, Any] = {
        "key_id": KEY,
        "ceremony": CEREMONY,
        "generation": 0,
        "protocol": Protocol.FROST_ED25519,
        "group": "two-of-three",
        "threshold": 2,
        "signers": NAMES,
        "public_key": made_up_key(EDDSA_ED25519),
        "chain_code": None,
        "transcript": b"\x02" * 32,
        "made_for": None,
        "signer": NAMES[index - 1],
        "index": index,
    }
    return model(**fields | changes)


def signed(payload_type: str, statement: ShareStatement, by: str | None = None) -> SignedBytes:
    payload = statement.model_dump_json().encode()
    return KEYS[by or statement.signer].sign(payload_type, payload)


@pytest.mark.parametrize(("payload_type", "model", "require"), OF_ALL)
def test_the_statements_of_all_n_are_enough(
    payload_type: str, model: type[ShareStatement], require: Require
):
    require([signed(payload_type, said(i, model)) for i in (1, 2, 3)], said(), IDENTITIES)


@pytest.mark.parametrize("missing", [1, 2, 3])
@pytest.mark.parametrize(("payload_type", "model", "require"), OF_ALL)
def test_those_of_fewer_are_not(
    payload_type: str, model: type[ShareStatement], require: Require, missing: int
):
    evidence = [signed(payload_type, said(i, model)) for i in (1, 2, 3) if i != missing]
    with pytest.raises(Denied):
        require(evidence, said(), IDENTITIES)


@pytest.mark.parametrize(
    "third",
    [
        lambda kind: signed(kind, said(3, transcript=b"\x03" * 32)),
        lambda kind: signed(kind, said(3, public_key=made_up_key(EDDSA_ED25519, 2))),
        lambda kind: signed(kind, said(3, ceremony=uuid4())),
        lambda kind: signed(kind, said(3, threshold=3)),
        lambda kind: signed(kind, said(3), by="signer-2"),
        lambda kind: SigningKey(Ed25519PrivateKey.generate()).sign(kind, b"{}"),
        lambda kind: signed(kind, said(3).model_copy(update={"index": 2})),
        lambda kind: signed(kind, said(2)),
        lambda kind: signed(kind, said(3)).model_copy(
            update={"payload": said(2).model_dump_json().encode()}
        ),
        lambda _: signed(ABANDONMENT_TYPE, said(3)),
        lambda kind: signed(
            PROMISE_TYPE if kind == CONFIRMATION_TYPE else CONFIRMATION_TYPE, said(3)
        ),
        lambda kind: KEYS["signer-3"].sign(kind, b"{}"),
    ],
)
@pytest.mark.parametrize(("payload_type", "model", "require"), OF_ALL)
def test_a_statement_of_something_else_does_not_count(
    payload_type: str,
    model: type[ShareStatement],
    require: Require,
    third: Callable[[str], SignedBytes],
):
    evidence = [signed(payload_type, said(i, model)) for i in (1, 2)]
    with pytest.raises(Denied):
        require([*evidence, third(payload_type)], said(), IDENTITIES)


@pytest.mark.parametrize("again", [said(3), said(3, made_for=None), said(1)])
@pytest.mark.parametrize(("payload_type", "model", "require"), OF_ALL)
def test_one_signer_states_no_more_than_once(
    payload_type: str, model: type[ShareStatement], require: Require, again: ShareStatement
):
    made_for = MadeFor(endpoint=Endpoint.WALLETS, external_id="order-7", application=None)
    evidence = [signed(payload_type, said(i, model)) for i in (1, 2)]
    evidence += [signed(payload_type, said(3, model, made_for=made_for))]
    with pytest.raises(Denied, match="more than once"):
        require([*evidence, signed(payload_type, again)], said(), IDENTITIES)


def abandonment(signer: str, **changes: Any) -> SignedBytes:
    fields = {"key_id": KEY, "ceremony": CEREMONY, "signer": signer}
    statement = Abandonment(**fields | changes)
    return KEYS[signer].sign(ABANDONMENT_TYPE, statement.model_dump_json().encode())


ENOUGH = [abandonment("signer-2"), abandonment("signer-3")]


def test_the_abandonments_of_t_others_are_enough():
    assert require_abandonments(ENOUGH, said(), IDENTITIES) == NAMES[1:]


@pytest.mark.parametrize(
    "evidence",
    [
        [],
        ENOUGH[:1],
        [ENOUGH[0], ENOUGH[0]],
        [ENOUGH[0], abandonment("signer-1")],
        [ENOUGH[0], abandonment("signer-4")],
        [ENOUGH[0], abandonment("signer-3", ceremony=uuid4())],
        [ENOUGH[0], abandonment("signer-3", key_id=uuid4())],
        [*ENOUGH, signed(CONFIRMATION_TYPE, said(3, Confirmation))],
    ],
    ids=["none", "fewer", "one twice", "our own", "a stranger's", "of another set",
         "of another key", "another statement among them"],
)  # fmt: skip
def test_nothing_else_is(evidence: list[SignedBytes]):
    with pytest.raises(Denied):
        require_abandonments(evidence, said(), IDENTITIES)


def test_where_all_n_must_sign_the_abandonments_of_all_others_are_enough():
    """A threshold of n cannot be reached by the others; and where n - 1 lie, nobody is split."""
    assert require_abandonments(ENOUGH, said(threshold=3), IDENTITIES) == NAMES[1:]
    with pytest.raises(Denied):
        require_abandonments(ENOUGH[:1], said(threshold=3), IDENTITIES)


MADE_FOR = MadeFor(endpoint=Endpoint.WALLETS, external_id="order-7", application=None)
ANOTHER = MADE_FOR.model_copy(update={"external_id": "order-8"})


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        ((None, MADE_FOR, MADE_FOR), MADE_FOR),
        ((ANOTHER, MADE_FOR, MADE_FOR), MADE_FOR),  # ours does not count
        ((None, MADE_FOR, ANOTHER), None),
        ((None, MADE_FOR, None), None),
        ((None, None, None), None),
    ],
)
def test_what_a_key_was_made_for_is_believed_of_t_others(told, believed):
    promises = [
        Promise(**dict(said(index, made_for=each))) for index, each in enumerate(told, start=1)
    ]
    assert told_by_others(promises, NAMES[0]) == believed


def test_one_liar_that_promises_often_is_one_voice():
    lies = [Promise(**dict(said(2, made_for=ANOTHER)))] * 3
    silent = [Promise(**dict(said(index))) for index in (1, 3)]
    assert told_by_others([*lies, *silent], NAMES[0]) is None


def test_two_that_were_repaired_believe_the_three_that_were_not():
    told = (None, None, MADE_FOR, MADE_FOR, MADE_FOR)
    names = [f"signer-{number}" for number in range(1, 6)]
    promises = [
        Promise(**dict(said(1, made_for=each, threshold=3, signers=names, signer=name)))
        for name, each in zip(names, told, strict=True)
    ]
    for name in names[:2]:
        assert told_by_others(promises, name) == MADE_FOR
    assert told_by_others([*promises[:4], promises[1]], names[0]) is None


def test_signers_need_not_know_alike_what_a_key_was_made_for():
    """One that was repaired does not know; one may have an application pinned and another not."""
    pool = [signed(PROMISE_TYPE, said(index, made_for=each))
                  for index, each in ((1, MADE_FOR), (2, None), (3, ANOTHER))]  # fmt: skip
    require_promises(pool, said(made_for=MADE_FOR), IDENTITIES)

"""What a stored share is bound to."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from uuid import UUID

from custody.wire.algorithms import Network
from custody.wire.jobs import Endpoint
from custody.wire.statements import MadeFor
from custody.wire.tickets import Protocol
from mpc.shares.stored_share import ShareState, StoredShare

STORED = StoredShare(
    key_id=UUID(int=1),
    ceremony=UUID(int=2),
    state=ShareState.CONFIRMED,
    generation=1,
    protocol=Protocol.DKLS23_SECP256K1,
    group="ab",
    threshold=2,
    signers=("c", "d", "e"),
    index=1,
    network=Network.ETHEREUM,
    public_key=b"public",
    chain_code=b"chain",
    transcript=b"transcript",
    made_for=None,
    proved_with=(),
    is_proved=False,
    encryption_key="key",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
OTHER_FACTS = {
    "key_id": UUID(int=3),
    "ceremony": UUID(int=3),
    "state": ShareState.REPAIRED,
    "generation": 2,
    "protocol": Protocol.FROST_ED25519,
    "group": "abc",
    "threshold": 3,
    "signers": ("d", "c", "e"),
    "index": 2,
    "network": None,
    "public_key": b"publi",
    "chain_code": None,
    "transcript": b"another",
}
CHANGING = {
    "state": ShareState.ACTIVE,
    "made_for": MadeFor(endpoint=Endpoint.KEYS, external_id="order-7", application=None),
    "proved_with": ("d",),
    "is_proved": True,
    "encryption_key": "another",
    "created_at": datetime(2026, 1, 2, tzinfo=UTC),
    "is_uncertain": True,
}


def with_fact(name: str, value: object) -> StoredShare:
    return replace(STORED, **{name: value})  # type: ignore[arg-type]


def test_it_is_bound_to_every_fact_that_never_changes():
    assert {*OTHER_FACTS, *CHANGING} == {field.name for field in fields(StoredShare)}
    rows = [STORED, *(with_fact(name, value) for name, value in OTHER_FACTS.items())]
    swapped = replace(STORED, key_id=STORED.ceremony, ceremony=STORED.key_id)
    moved = replace(STORED, group="abc", signers=("d", "e"))
    rows += [swapped, moved]
    assert len({row.associated_data for row in rows}) == len(rows)


def test_it_opens_whatever_becomes_of_its_set():
    for name, value in CHANGING.items():
        assert with_fact(name, value).associated_data == STORED.associated_data

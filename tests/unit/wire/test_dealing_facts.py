"""The info under which a sub-share is sealed: one signer's, and of one dealing alone."""

import hashlib
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1, SCHNORR_SECP256K1
from custody.wire.dealing_facts import DealingFacts
from custody.wire.hybrid_keys import HybridPrivateKey, HybridPublicKey
from custody.wire.jobs import KeyHolders

FACTS = DealingFacts(
    import_id=UUID(int=7),
    holders=KeyHolders(
        group="two-of-three", threshold=2, signers=("signer-1", "signer-2", "signer-3")
    ),
    algorithm=ECDSA_SECP256K1,
    public_key=b"\x02" + bytes(32),
    commitments=(b"\x02" + bytes(32), b"\x03" + bytes(32)),
    chain_code=bytes(32),
)


def holders(**changes: Any) -> KeyHolders:
    return FACTS.holders.model_copy(update=changes)


OTHERS: list[dict[str, Any]] = [
    {"import_id": UUID(int=8)},
    {"holders": holders(group="two-of-four")},
    {"holders": holders(threshold=3)},
    {"holders": holders(signers=("signer-1", "signer-3", "signer-2"))},
    {"holders": holders(signers=("signer-1", "signer-2"))},
    {"algorithm": SCHNORR_SECP256K1},
    {"public_key": b"\x03" + bytes(32)},
    {"commitments": FACTS.commitments[::-1]},
    {"commitments": FACTS.commitments[:1]},
    {"chain_code": None},
]


@pytest.mark.parametrize("changed", OTHERS, ids=str)
def test_a_sub_share_opens_beside_the_facts_that_it_was_sealed_with_alone(changed):
    key = HybridPrivateKey.generate()
    sealed = HybridPublicKey(key.public_key).seal(b"share", FACTS.sealed_for("signer-1"))
    assert key.open(sealed, FACTS.sealed_for("signer-1")) == b"share"
    with pytest.raises(ValueError, match="not sealed for this key and place"):
        key.open(sealed, replace(FACTS, **changed).sealed_for("signer-1"))


def test_each_signer_has_its_own():
    assert len({FACTS.sealed_for(signer) for signer in FACTS.holders.signers}) == 3


def test_a_stranger_has_none():
    with pytest.raises(ValueError, match="not in"):
        FACTS.sealed_for("signer-4")


def test_the_hash_is_over_the_parts_that_the_document_lists():
    def part(value: bytes) -> bytes:
        return len(value).to_bytes(4) + value

    content = b"".join(
        map(
            part,
            [
                b"custody-import-seal-v1",
                bytes(15) + b"\x07",
                b"signer-2",
                b"\x02\x02",
                b"two-of-three",
                b"".join(map(part, [b"signer-1", b"signer-2", b"signer-3"])),
                b"ECDSA/secp256k1",
                FACTS.public_key,
                b"".join(map(part, FACTS.commitments)),
                bytes(32),
            ],
        )
    )
    assert FACTS.sealed_for("signer-2") == hashlib.sha256(content).digest()

"""What a signer believes of others' statements."""

from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mpc.handlers.evidence import require_abandonment, require_confirmations
from node.decisions import Denied
from wire.envelope import ABANDONMENT_TYPE, CONFIRMATION_TYPE, SignedBytes, Signer
from wire.statements import Abandonment, Confirmation
from wire.tickets import Protocol

NAMES = ["signer-1", "signer-2", "signer-3"]
KEYS = {name: Signer(Ed25519PrivateKey.generate()) for name in NAMES}
IDENTITIES = {name: signer.public_key for name, signer in KEYS.items()}
KEY, CEREMONY = uuid4(), uuid4()


def confirmation(index: int = 1, **changes: Any) -> Confirmation:
    fields: dict[str, Any] = {
        "key_id": KEY,
        "ceremony": CEREMONY,
        "generation": 0,
        "protocol": Protocol.FROST_ED25519,
        "group": "two-of-three",
        "threshold": 2,
        "signers": NAMES,
        "public_key": b"\x01" * 32,
        "chain_code": None,
        "transcript": b"\x02" * 32,
        "signer": NAMES[index - 1],
        "index": index,
    }
    return Confirmation(**fields | changes)


def signed(said: Confirmation, by: Signer | None = None) -> SignedBytes:
    signer = by or KEYS[said.signer]
    return signer.sign(CONFIRMATION_TYPE, said.model_dump_json().encode())


ALL = [signed(confirmation(index)) for index in (1, 2, 3)]


def test_the_confirmations_of_all_n_are_enough():
    require_confirmations(ALL, confirmation(), IDENTITIES)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_those_of_fewer_are_not(missing):
    with pytest.raises(Denied):
        require_confirmations(
            [each for at, each in enumerate(ALL) if at != missing], confirmation(), IDENTITIES
        )


@pytest.mark.parametrize(
    "third",
    [
        signed(confirmation(3, transcript=b"\x03" * 32)),
        signed(confirmation(3, public_key=b"\x04" * 32)),
        signed(confirmation(3, ceremony=uuid4())),
        signed(confirmation(3, threshold=3)),
        signed(confirmation(3), by=KEYS["signer-2"]),
        signed(confirmation(3), by=Signer(Ed25519PrivateKey.generate())),
        signed(confirmation(3).model_copy(update={"index": 2})),
        signed(confirmation(2)),
        ALL[2].model_copy(update={"payload": ALL[1].payload}),
        KEYS["signer-3"].sign(ABANDONMENT_TYPE, confirmation(3).model_dump_json().encode()),
        KEYS["signer-3"].sign(CONFIRMATION_TYPE, b"{}"),
    ],
)
def test_a_statement_of_something_else_does_not_count(third):
    with pytest.raises(Denied):
        require_confirmations([*ALL[:2], third], confirmation(), IDENTITIES)


def abandonment(signer: str = "signer-2", **changes: Any) -> SignedBytes:
    fields = {"key_id": KEY, "ceremony": CEREMONY, "signer": signer}
    said = Abandonment(**fields | changes)
    return KEYS[signer].sign(ABANDONMENT_TYPE, said.model_dump_json().encode())


def test_the_abandonment_of_one_signer_of_the_set_is_enough():
    assert require_abandonment([abandonment()], KEY, CEREMONY, NAMES, IDENTITIES) == "signer-2"


@pytest.mark.parametrize(
    "evidence", [[], [abandonment(ceremony=uuid4())], [abandonment(key_id=uuid4())], [ALL[0]]]
)
def test_nothing_else_is(evidence):
    with pytest.raises(Denied):
        require_abandonment(evidence, KEY, CEREMONY, NAMES, IDENTITIES)


def test_a_pinned_signer_outside_of_the_set_cannot_abandon_it():
    with pytest.raises(Denied):
        require_abandonment([abandonment("signer-3")], KEY, CEREMONY, NAMES[:2], IDENTITIES)

"""A damaged proof opens nothing, and the other proofs of the key still count."""

from dataclasses import replace
from typing import Any

import pytest

from custody.pkcs11.hsm import Hsm
from custody.pkcs11.settings import HsmSettings
from custody.wire.algorithms import SCHNORR_SECP256K1
from tests.integration.pkcs11.test_weak_master_keys import all_present


@pytest.mark.parametrize(
    "damage",
    [
        {"unwrapped_without": ["NOPE"]},
        {"unwrapped_without": ["VALUE"]},
        {"unwrapped_without": ["EXTRACTABLE"]},
        {"mechanism": "AES_CBC"},
        {"algorithm": SCHNORR_SECP256K1},
        {"algorithm": None},
        {"public_key": b""},
        {"public_key": bytes(33)},
        {"wrapped": b""},
        {"wrapped": bytes(8)},
    ],
    ids=str,
)
async def test_a_damaged_proof_leaves_the_others_alone(
    damage: dict[str, Any], settings: HsmSettings
):
    """A row of the database can have any text where the names of attributes belong."""
    (key,) = [each for each in await all_present(settings) if each.name == "custody/1"]
    damaged = [each.model_copy(update=damage) for each in key.proofs]
    hsm = Hsm(replace(settings, workers=1))
    try:
        known = [key.model_copy(update={"proofs": [*damaged, *key.proofs]})]
        await hsm.start(known, accept_new=False)
        assert await hsm.proofs() == {key.name: key.proofs[0]}
    finally:
        await hsm.close()

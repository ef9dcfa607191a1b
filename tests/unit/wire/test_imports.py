"""Imports of keys: the statement about an import key, and what a request must have."""

import json
from uuid import uuid4

import pytest
from pydantic import ValidationError

from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Algorithm,
    Network,
    Protection,
    Store,
)
from custody.wire.imports import HPKE_PUBLIC_KEY_SIZE, ImportKeyStatement, Wrapping
from custody.wire.requests import CreateImport, CreateKey, CreateWallet
from custody.wire.resources import ImportStatus
from custody.wire.statements import Attestation
from tests.made_up_keys import made_up_key
from tests.unit.wire.protocol_examples import ATTESTATION, IMPORT_STATEMENT

SIGNERS = ["signer-1", "signer-2", "signer-3"]


def statement(**changes: object) -> ImportKeyStatement:
    return ImportKeyStatement.model_validate(IMPORT_STATEMENT.model_dump() | changes)


def of_signers(**changes: object) -> ImportKeyStatement:
    fields = {
        "protection": Protection.MPC,
        "wrapping": Wrapping.HPKE,
        "import_key": bytes(HPKE_PUBLIC_KEY_SIZE),
        "threshold": 2,
        "signers": SIGNERS,
        "node": "signer-2",
    }
    return statement(**(fields | changes))


def test_signers_state_the_same_but_for_their_own_part():
    first = of_signers()
    second = of_signers(node="signer-1", import_key=b"\1" * HPKE_PUBLIC_KEY_SIZE)
    assert first.agreed == second.agreed
    assert first.agreed != of_signers(threshold=3).agreed


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"protection": Protection.MPC}, "signers wrap with HPKE"),
        ({"wrapping": Wrapping.HPKE}, "signers wrap with HPKE"),
        ({"threshold": 2}, "a driver holds a key alone"),
        ({"signers": ["zurich-1", "zurich-2"]}, "a driver holds a key alone"),
        ({"node": "zurich-2"}, "the node among them"),
        ({"scheme": "EdDSA"}, "not an algorithm"),
    ],
)
def test_a_drivers_statement_fits_together(changes, why):
    statement()
    with pytest.raises(ValidationError, match=why):
        statement(**changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"threshold": 1}, "threshold"),
        ({"threshold": 4}, "threshold"),
        ({"signers": [*SIGNERS, "signer-1"]}, "each once"),
        ({"import_key": bytes(HPKE_PUBLIC_KEY_SIZE - 1)}, "must be 1216 bytes"),
    ],
)
def test_a_signers_statement_fits_together(changes, why):
    with pytest.raises(ValidationError, match=why):
        of_signers(**changes)


def imported(algorithm: Algorithm, store: Store, **changes: object) -> dict[str, object]:
    """The part of a request that imports a key, as JSON; a change to None leaves a field out."""
    public_key = made_up_key(algorithm)
    fields: dict[str, object] = {"import_id": str(uuid4()), "public_key": "0x" + public_key.hex()}
    if store is Store.HSM:
        fields["wrapped"] = "0xaa"
    else:
        is_edwards = algorithm == EDDSA_ED25519
        other = made_up_key(EDDSA_ED25519 if is_edwards else ECDSA_SECP256K1, 2)
        first = public_key if algorithm != SCHNORR_SECP256K1 else b"\2" + public_key
        fields["commitments"] = ["0x" + first.hex(), "0x" + other.hex()]
        fields["sealed"] = dict.fromkeys(SIGNERS, "0xbb")
        if algorithm == ECDSA_SECP256K1:
            fields["chain_code"] = "0x" + bytes(32).hex()
    fields |= changes
    return {name: value for name, value in fields.items() if value is not None}


def ask(algorithm: Algorithm, store: Store, **changes: object) -> CreateKey:
    body = {
        "scheme": algorithm.scheme,
        "curve": algorithm.curve,
        "store": store,
        "imported": imported(algorithm, store, **changes),
    }
    if store is Store.MPC:
        body["signer_group"] = "treasury"
    return CreateKey.model_validate_json(json.dumps(body))


@pytest.mark.parametrize("algorithm", [ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1], ids=str)
@pytest.mark.parametrize("store", list(Store))
def test_a_key_of_each_store_can_be_imported(algorithm, store):
    assert ask(algorithm, store).imported is not None


@pytest.mark.parametrize(
    ("algorithm", "store", "changes", "why"),
    [
        (ECDSA_SECP256K1, Store.HSM, {"wrapped": None}, "store hsm needs wrapped"),
        (ECDSA_SECP256K1, Store.HSM, {"wrapped": "0x"}, "at least 1"),
        (ECDSA_SECP256K1, Store.HSM, {"wrapped": "0x" + 4097 * "aa"}, "at most 4096"),
        (ECDSA_SECP256K1, Store.HSM, {"chain_code": "0x" + 32 * "aa"}, "are for store mpc"),
        (ECDSA_SECP256K1, Store.MPC, {"wrapped": "0xaa"}, "and no wrapped"),
        (ECDSA_SECP256K1, Store.MPC, {"sealed": None}, "needs commitments and sealed"),
        (ECDSA_SECP256K1, Store.MPC, {"sealed": {"signer-1": "0xaa"}}, "at least 2"),
        (ECDSA_SECP256K1, Store.MPC, {"chain_code": None}, "needs a chain_code"),
        (ECDSA_SECP256K1, Store.MPC, {"chain_code": "0x" + 31 * "aa"}, "must be 32 bytes"),
        (EDDSA_ED25519, Store.MPC, {"chain_code": "0x" + 32 * "aa"}, "has no chain_code"),
    ],
)
def test_what_is_missing_or_too_much_is_refused(algorithm, store, changes, why):
    with pytest.raises(ValidationError, match=why):
        ask(algorithm, store, **changes)


@pytest.mark.parametrize("algorithm", [ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1], ids=str)
def test_commitments_are_points_and_begin_with_the_key(algorithm):
    good = ask(algorithm, Store.MPC).imported
    assert good is not None
    assert good.commitments is not None
    first, second = ("0x" + point.hex() for point in good.commitments)
    with pytest.raises(ValidationError, match="the first commitment is not the public key"):
        ask(algorithm, Store.MPC, commitments=[second, first])
    with pytest.raises(ValidationError, match="public key"):
        ask(algorithm, Store.MPC, commitments=[first, "0x" + "ff" * 33])
    with pytest.raises(ValidationError, match="fewer signers than the threshold"):
        ask(algorithm, Store.MPC, commitments=[first, *[second] * 3])


def test_a_derived_wallet_is_not_imported():
    body = {
        "network": Network.ETHEREUM,
        "store": Store.MPC,
        "master_key": uuid4(),
        "path": "m/0",
        "imported": imported(ECDSA_SECP256K1, Store.MPC),
    }
    with pytest.raises(ValidationError, match="derived from a master key is not imported"):
        CreateWallet.model_validate(body)


def test_an_import_is_asked_for_as_a_key_is():
    body = {"scheme": "ECDSA", "curve": "secp256k1", "store": "mpc"}
    with pytest.raises(ValidationError, match="signer_group"):
        CreateImport.model_validate(body)
    assert CreateImport.model_validate(body | {"signer_group": "g"}).algorithm == ECDSA_SECP256K1


def test_an_import_is_pending_until_nodes_have_answered():
    assert [each for each in ImportStatus if not each.is_final] == [ImportStatus.PENDING]


def test_the_attestation_of_a_generated_key_is_the_same_bytes_as_before():
    """Readers of earlier versions refuse fields that they do not know."""
    text = ATTESTATION.model_dump_json()
    assert "imported" not in text
    assert Attestation.model_validate_json(text).imported is False
    with_field = ATTESTATION.model_copy(update={"imported": True})
    assert Attestation.model_validate_json(with_field.model_dump_json()).imported is True
    assert with_field.agreed != ATTESTATION.agreed

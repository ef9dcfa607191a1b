"""The part of a request that imports a key, made from the statements of the nodes."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from Crypto.Cipher import AES, PKCS1_OAEP
from Crypto.Hash import SHA256
from Crypto.PublicKey import RSA
from embit.bip32 import HDKey
from embit.ec import PrivateKey as EmbitPrivateKey

from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.pkcs8 import encode_pkcs8
from custody.client.importing.private_key import PrivateKey
from custody.client.importing.sealed_key import seal_key
from custody.client.importing.splitting import verify_share
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    HSM_ALGORITHMS,
    SCHNORR_SECP256K1,
    Algorithm,
    Protection,
    Store,
)
from custody.wire.dealing_facts import DealingFacts
from custody.wire.derivation import child_public_key
from custody.wire.hybrid_keys import HybridPrivateKey
from custody.wire.imports import ImportedKey, ImportKeyStatement, Wrapping
from custody.wire.jobs import KeyHolders

SIGNERS = ["signer-1", "signer-2", "signer-3"]
KEYS = {signer: HybridPrivateKey.generate() for signer in SIGNERS}
RSA_KEY = RSA.generate(2048)


def key_of(algorithm: Algorithm, **more: Any) -> PrivateKey:
    return PrivateKey(algorithm, (7).to_bytes(32), **more)


def statement(algorithm: Algorithm, node: str, **changed: Any) -> ImportKeyStatement:
    facts = {
        "import_id": UUID(int=7),
        "application": None,
        "scheme": algorithm.scheme,
        "curve": algorithm.curve,
        "protection": Protection.MPC,
        "wrapping": Wrapping.HPKE,
        "import_key": KEYS[node].public_key if node in KEYS else b"",
        "expires_at": datetime(2026, 1, 1, tzinfo=UTC),
        "group": "two-of-three",
        "threshold": 2,
        "signers": SIGNERS,
        "node": node,
    }
    return ImportKeyStatement(**{**facts, **changed})


def of_signers(algorithm: Algorithm, **changed: Any) -> list[ImportKeyStatement]:
    return [statement(algorithm, signer, **changed) for signer in SIGNERS]


def of_driver(
    algorithm: Algorithm, protection: Protection = Protection.HSM
) -> list[ImportKeyStatement]:
    driver = {
        "protection": protection,
        "wrapping": Wrapping.RSA_OAEP_AES_KWP_SHA256,
        "import_key": RSA_KEY.public_key().export_key("DER"),
        "group": "hsm",
        "threshold": 1,
        "signers": ["driver-1"],
    }
    return [statement(algorithm, "driver-1", **driver)]


def open_all(imported: ImportedKey, algorithm: Algorithm) -> None:
    """Each signer opens its sub-share with what the request says, and checks it."""
    assert imported.commitments is not None
    assert imported.sealed is not None
    facts = DealingFacts(
        import_id=imported.import_id,
        holders=KeyHolders(group="two-of-three", threshold=2, signers=SIGNERS),
        algorithm=algorithm,
        public_key=imported.public_key,
        commitments=imported.commitments,
        chain_code=imported.chain_code,
    )
    for index, signer in enumerate(SIGNERS, start=1):
        sub_share = KEYS[signer].open(imported.sealed[signer], facts.sealed_for(signer))
        verify_share(algorithm.curve, imported.commitments, index, sub_share)


@pytest.mark.parametrize("algorithm", [ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1], ids=str)
def test_each_signer_opens_its_sub_share_from_what_is_sent(algorithm):
    key = key_of(algorithm)
    sent = seal_key(key, of_signers(algorithm)).model_dump_json()
    imported = ImportedKey.model_validate_json(sent)
    imported.check(Store.MPC, algorithm)
    assert imported.public_key == key.public_key
    open_all(imported, algorithm)


def test_the_order_of_the_statements_does_not_matter():
    open_all(seal_key(key_of(ECDSA_SECP256K1), of_signers(ECDSA_SECP256K1)[::-1]), ECDSA_SECP256K1)


def test_a_key_without_a_chain_code_gets_a_random_one_each_time():
    keys = [seal_key(key_of(ECDSA_SECP256K1), of_signers(ECDSA_SECP256K1)) for _ in range(3)]
    assert len({each.chain_code for each in keys}) == 3
    assert seal_key(key_of(EDDSA_ED25519), of_signers(EDDSA_ED25519)).chain_code is None


def test_the_applications_own_chain_code_is_kept():
    """So the children of a BIP-32 key stay the same."""
    root = HDKey(EmbitPrivateKey((7).to_bytes(32)), b"\x17" * 32)
    key = key_of(ECDSA_SECP256K1, chain_code=root.chain_code)
    imported = seal_key(key, of_signers(ECDSA_SECP256K1))
    assert imported.chain_code == b"\x17" * 32
    child = child_public_key(imported.public_key, imported.chain_code, (0, 5))
    assert child == root.derive("m/0/5").get_public_key().sec()
    open_all(imported, ECDSA_SECP256K1)


@pytest.mark.parametrize("protection", [Protection.HSM, Protection.HOST])
@pytest.mark.parametrize("algorithm", HSM_ALGORITHMS, ids=str)
def test_a_driver_unwraps_the_key_from_what_is_sent(algorithm, protection):
    key = key_of(algorithm)
    imported = seal_key(key, of_driver(algorithm, protection))
    assert (imported.commitments, imported.sealed, imported.chain_code) == (None, None, None)
    assert imported.wrapped is not None
    aes_key = PKCS1_OAEP.new(RSA_KEY, hashAlgo=SHA256).decrypt(imported.wrapped[:256])
    assert AES.new(aes_key, AES.MODE_KWP).unseal(imported.wrapped[256:]) == encode_pkcs8(key)


def test_a_driver_keeps_no_chain_code():
    with pytest.raises(BadPrivateKey, match="without it"):
        seal_key(key_of(ECDSA_SECP256K1, chain_code=bytes(32)), of_driver(ECDSA_SECP256K1))


def test_the_import_must_be_for_the_algorithm_of_the_key():
    for statements in (of_signers(SCHNORR_SECP256K1), of_driver(ECDSA_SECP256R1)):
        with pytest.raises(BadPrivateKey, match="the import is for a key of") as caught:
            seal_key(key_of(ECDSA_SECP256K1), statements)
        assert caught.value.code is KeyFault.UNSUPPORTED


@pytest.mark.parametrize(
    "changed",
    [
        {"import_id": UUID(int=8)},
        {"group": "others"},
        {"threshold": 3},
        {"signers": SIGNERS[::-1]},
        {"application": key_of(EDDSA_ED25519).public_key},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_statements_that_contradict_each_other_are_refused(changed):
    statements = of_signers(ECDSA_SECP256K1)
    statements[1] = statement(ECDSA_SECP256K1, "signer-2", **changed)
    with pytest.raises(ValueError, match="different imports"):
        seal_key(key_of(ECDSA_SECP256K1), statements)


def test_a_statement_of_each_signer_is_needed_once():
    statements = of_signers(ECDSA_SECP256K1)
    for wrong in (statements[:2], [*statements, statements[0]], [statements[0]] * 3):
        with pytest.raises(ValueError, match="signer-1, signer-2, signer-3 is needed, once"):
            seal_key(key_of(ECDSA_SECP256K1), wrong)
    with pytest.raises(ValueError, match="no statement"):
        seal_key(key_of(ECDSA_SECP256K1), [])


def test_the_statements_may_expire_at_different_times():
    statements = of_signers(ECDSA_SECP256K1)
    later = {"expires_at": datetime(2026, 1, 2, tzinfo=UTC)}
    statements[1] = statement(ECDSA_SECP256K1, "signer-2", **later)
    open_all(seal_key(key_of(ECDSA_SECP256K1), statements), ECDSA_SECP256K1)

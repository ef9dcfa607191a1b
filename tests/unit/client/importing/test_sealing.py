"""Sealing of an imported key: only the holder of the import key opens it, in the right place."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from Crypto.Cipher import AES, PKCS1_OAEP
from Crypto.Hash import SHA1, SHA256
from Crypto.PublicKey import RSA
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

from custody.client.importing.pkcs8 import encode_pkcs8
from custody.client.importing.private_key import PrivateKey
from custody.client.importing.sealing import seal, wrap
from custody.client.importing.splitting import split, verify_share
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    HSM_ALGORITHMS,
    SCHNORR_SECP256K1,
    Curve,
)
from custody.wire.dealing_facts import DealingFacts
from custody.wire.hybrid_keys import HybridPrivateKey
from custody.wire.imports import MAX_SEALED, Wrapping
from custody.wire.jobs import KeyHolders

HASHES = {
    Wrapping.RSA_OAEP_AES_KWP_SHA1: SHA1,
    Wrapping.RSA_OAEP_AES_KWP_SHA256: SHA256,
}
SIGNERS = ("signer-1", "signer-2", "signer-3")
KEY = PrivateKey(ECDSA_SECP256K1, (7).to_bytes(32))
IMPORT_KEYS = {signer: HybridPrivateKey.generate() for signer in SIGNERS}
PUBLIC = {signer: key.public_key for signer, key in IMPORT_KEYS.items()}
SHARING = split(KEY, 2, 3)
FACTS = DealingFacts(
    import_id=UUID(int=7),
    holders=KeyHolders(group="two-of-three", threshold=2, signers=SIGNERS),
    algorithm=ECDSA_SECP256K1,
    public_key=KEY.public_key,
    commitments=SHARING.commitments,
    chain_code=bytes(32),
)


def holders(**changes: Any) -> KeyHolders:
    return FACTS.holders.model_copy(update=changes)


def spki(private_key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    public_key = private_key.public_key()
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def rsa_key() -> RSA.RsaKey:
    return RSA.generate(2048)


def unwrapped(wrapped: bytes, rsa_key: RSA.RsaKey, wrapping: Wrapping) -> bytes:
    """The PKCS#8 inside, as another library opens it."""
    size = rsa_key.size_in_bytes()
    oaep = PKCS1_OAEP.new(rsa_key, hashAlgo=HASHES[wrapping].new())
    aes_key = oaep.decrypt(wrapped[:size])
    assert len(aes_key) == 32
    return AES.new(aes_key, AES.MODE_KWP).unseal(wrapped[size:])


@pytest.mark.parametrize("wrapping", HASHES)
@pytest.mark.parametrize("algorithm", HSM_ALGORITHMS, ids=str)
def test_another_library_unwraps_the_pkcs8_of_the_key(rsa_key, algorithm, wrapping):
    for number in (1, 2**248 - 1):
        key = PrivateKey(algorithm, number.to_bytes(32))
        wrapped = wrap(key, wrapping, rsa_key.public_key().export_key("DER"))
        assert len(wrapped) <= MAX_SEALED
        content = unwrapped(wrapped, rsa_key, wrapping)
        assert content == encode_pkcs8(key)
        loaded = load_der_private_key(content, None)
        if isinstance(loaded, ed25519.Ed25519PrivateKey):
            assert loaded.private_bytes_raw() == key.secret
        else:
            assert isinstance(loaded, ec.EllipticCurvePrivateKey)
            assert loaded.private_numbers().private_value == number


def test_the_hashes_are_not_mixed_up(rsa_key):
    public_key = rsa_key.public_key().export_key("DER")
    with pytest.raises(ValueError, match="Incorrect decryption"):
        unwrapped(
            wrap(KEY, Wrapping.RSA_OAEP_AES_KWP_SHA1, public_key),
            rsa_key,
            Wrapping.RSA_OAEP_AES_KWP_SHA256,
        )


def test_each_wrapping_has_a_key_of_its_own(rsa_key):
    public_key = rsa_key.public_key().export_key("DER")
    wrapped = [wrap(KEY, Wrapping.RSA_OAEP_AES_KWP_SHA256, public_key) for _ in range(3)]
    assert len({each[256:] for each in wrapped}) == 3


def test_import_keys_that_are_not_rsa_of_a_sound_size_are_refused(rsa_key):
    public_key = rsa_key.public_key().export_key("DER")
    short = spki(rsa.generate_private_key(65537, 1024))
    curve = spki(ec.generate_private_key(ec.SECP256R1()))
    for wrong in (
        b"",
        b"not a key",
        public_key[:-1],
        public_key + b"\0",
        short,
        curve,
        PUBLIC["signer-1"],
    ):
        with pytest.raises(ValueError, match="the import key is not"):
            wrap(KEY, Wrapping.RSA_OAEP_AES_KWP_SHA256, wrong)


def test_no_token_holds_a_schnorr_key(rsa_key):
    key = PrivateKey(SCHNORR_SECP256K1, (7).to_bytes(32))
    public_key = rsa_key.public_key().export_key("DER")
    with pytest.raises(ValueError, match="no PKCS#8"):
        wrap(key, Wrapping.RSA_OAEP_AES_KWP_SHA256, public_key)


def test_signers_are_not_sealed_to_by_rsa(rsa_key):
    with pytest.raises(ValueError, match="not a wrapping of RSA"):
        wrap(KEY, Wrapping.HPKE, rsa_key.public_key().export_key("DER"))


def test_each_signer_opens_its_own_sub_share_alone():
    sealed = seal(SHARING, FACTS, PUBLIC)
    assert list(sealed) == list(SIGNERS)
    for index, signer in enumerate(SIGNERS, start=1):
        assert len(sealed[signer]) <= MAX_SEALED
        sub_share = IMPORT_KEYS[signer].open(sealed[signer], FACTS.sealed_for(signer))
        verify_share(Curve.SECP256K1, FACTS.commitments, index, sub_share)
        for other in set(SIGNERS) - {signer}:
            for info in (FACTS.sealed_for(other), FACTS.sealed_for(signer)):
                with pytest.raises(ValueError, match="not sealed for this key and place"):
                    IMPORT_KEYS[other].open(sealed[signer], info)


def test_a_sub_share_does_not_open_in_another_import():
    sealed = seal(SHARING, FACTS, PUBLIC)["signer-2"]
    elsewhere = replace(FACTS, import_id=UUID(int=8))
    with pytest.raises(ValueError, match="not sealed for this key and place"):
        IMPORT_KEYS["signer-2"].open(sealed, elsewhere.sealed_for("signer-2"))


def test_facts_of_another_dealing_are_refused():
    for facts in (
        replace(FACTS, commitments=split(KEY, 2, 3).commitments),
        replace(FACTS, commitments=FACTS.commitments[:1]),
        replace(FACTS, commitments=()),
    ):
        with pytest.raises(ValueError, match="another dealing"):
            seal(SHARING, facts, PUBLIC)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"public_key": PrivateKey(ECDSA_SECP256K1, (8).to_bytes(32)).public_key}, "public key"),
        ({"holders": holders(threshold=3)}, "threshold"),
        ({"holders": holders(signers=SIGNERS[:2])}, "3 sub-shares for 2 signers"),
        ({"holders": holders(signers=(*SIGNERS, "signer-4"))}, "3 sub-shares for 4 signers"),
    ],
)
def test_facts_that_contradict_the_dealing_are_refused(change, words):
    facts = replace(FACTS, **change)
    keys = dict.fromkeys(facts.holders.signers, PUBLIC["signer-1"])
    with pytest.raises(ValueError, match=words):
        seal(SHARING, facts, keys)


def test_import_keys_must_be_those_of_the_signers():
    for keys in (
        {signer: PUBLIC[signer] for signer in SIGNERS[:2]},
        {**PUBLIC, "signer-4": PUBLIC["signer-1"]},
        {},
    ):
        with pytest.raises(ValueError, match="each signer, and nobody else"):
            seal(SHARING, FACTS, keys)
    with pytest.raises(ValueError, match="not 1216"):
        seal(SHARING, FACTS, {**PUBLIC, "signer-2": b"short"})


@pytest.mark.parametrize("algorithm", [EDDSA_ED25519, SCHNORR_SECP256K1], ids=str)
def test_keys_of_the_other_algorithms_are_sealed_too(algorithm):
    key = PrivateKey(algorithm, (9).to_bytes(32))
    dealing = split(key, 2, 3)
    facts = replace(
        FACTS,
        algorithm=algorithm,
        public_key=key.public_key,
        commitments=dealing.commitments,
        chain_code=None,
    )
    sealed = seal(dealing, facts, PUBLIC)
    for index, signer in enumerate(SIGNERS, start=1):
        sub_share = IMPORT_KEYS[signer].open(sealed[signer], facts.sealed_for(signer))
        verify_share(algorithm.curve, facts.commitments, index, sub_share)

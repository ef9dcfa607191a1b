"""Proofs that a key on the token is the key of before (docs/adr/0031). Workers only.

A proof of a key that wraps is a key pair's private key, wrapped by that key. Another key does not
unwrap it; and what is unwrapped must sign for the public key in the proof. A proof of a key that
encrypts is a fixed text under AES-GCM. No proof needs an object whose value the host knows: strict
tokens refuse to create one.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

from custody.pkcs11 import (
    host_key,
    host_signing,
    token_scheme,
    unwrap_template,
    wrap_mechanisms,
)
from custody.pkcs11.master_key import GCM_TAG_BITS, MasterKey
from custody.pkcs11.messages import KeyProof
from custody.pkcs11.return_codes import Kind
from custody.pkcs11.round_trip import Unable, Way, find_way, travel
from custody.pkcs11.session_errors import kind_of_error, name_of, raise_if_lost
from custody.pkcs11.token_traits import in_use
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    Algorithm,
    Protection,
)
from custody.wire.possession import possession_request
from custody.wire.requests import SignHash
from custody.wire.signatures import BadSignature, finish
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, ObjectClass, Session
from pkcs11.exceptions import PKCS11Error

ALGORITHMS = (ECDSA_SECP256R1, ECDSA_SECP256K1, EDDSA_ED25519)
"""The order of trial. Most tokens have P-256, so a clone of another make can use the proof."""

TEXT = b"custody key proof, version 1: one key opens this text, and no other does"
"""Longer than two AES blocks: AES-GCM alone does not commit to its key, a known text does."""

CHECK_VALUE_SEED = b"custody master key check value, version 1"
CHECK_MECHANISMS = (
    Mechanism.AES_KEY_WRAP,
    Mechanism.AES_KEY_WRAP_KWP,
    Mechanism.AES_KEY_WRAP_PAD,
)
# Host keys are encrypted under random nonces of 96 bits; this fixed one meets only this plaintext.
CHECK_NONCE = hashlib.sha256(CHECK_VALUE_SEED + b", nonce").digest()[:12]


def make_proof(session: Session, master: MasterKey) -> KeyProof | None:
    """Make a proof, and open it once. None if this token cannot make one.

    Raise PKCS11Error only if the session is lost.
    """
    if master.is_host:
        return _sealed_text(master)
    for algorithm in ALGORITHMS:
        with suppress(Unable):
            proof = _wrapped_pair(session, master, algorithm)
            if proof is not None and refusal(master, proof) is None:
                return proof
    return None


def _sealed_text(master: MasterKey) -> KeyProof | None:
    try:
        sealed = host_key.seal(master, TEXT, TEXT)
    except PKCS11Error as error:
        raise_if_lost(error)
        return None
    proof = KeyProof(mechanism=host_key.MECHANISM, wrapped=sealed)
    return proof if refusal(master, proof) is None else None


def _wrapped_pair(session: Session, master: MasterKey, algorithm: Algorithm) -> KeyProof | None:
    way = find_way(session, master.key, algorithm)
    try:
        with token_scheme.generated(session, algorithm) as (_, private, public_key):
            wrapped = master.key.wrap_key(private, mechanism=way.mechanism)
    except PKCS11Error as error:
        raise_if_lost(error)
        return None
    except ValueError:
        return None
    return KeyProof(
        mechanism=way.mechanism.name,
        algorithm=algorithm,
        public_key=public_key,
        wrapped=wrapped,
        unwrapped_without=sorted(attribute.name for attribute in way.without),
    )


def refusal(master: MasterKey, proof: KeyProof) -> str | None:
    """Return why the key does not open a proof; None if it does.

    Raise PKCS11Error only if the session is lost.
    """
    try:
        if master.is_host:
            return _refusal_of_text(master, proof)
        return _refusal_of_pair(master, proof)
    except PKCS11Error as error:
        if not (kind_of_error(error) is Kind.DEVICE and _opens_its_own(master, proof)):
            raise_if_lost(error)
        return name_of(error)
    except (BadSignature, ValueError) as error:
        return str(error)


def _opens_its_own(master: MasterKey, proof: KeyProof) -> bool:
    """Return whether the key opens what it has just closed. Then the token itself works."""
    if master.is_host:
        return host_key.travels(master)
    mechanism = wrap_mechanisms.of_stored_key(proof.mechanism)
    if mechanism is None or proof.algorithm is None:
        return False
    without = unwrap_template.left_out(proof.unwrapped_without)
    try:
        travel(master.key.session, master.key, Way(proof.algorithm, mechanism, without))
    except Unable:
        return False
    return True


def _refusal_of_text(master: MasterKey, proof: KeyProof) -> str | None:
    if proof.mechanism != host_key.MECHANISM:
        return f"a proof with {proof.mechanism} is not of a key that encrypts"
    opened = host_key.unseal(master, proof.wrapped, TEXT)
    return None if opened == TEXT else "it decrypts the proof to another text"


def _refusal_of_pair(master: MasterKey, proof: KeyProof) -> str | None:
    mechanism = wrap_mechanisms.of_stored_key(proof.mechanism)
    algorithm = proof.algorithm
    if mechanism is None or algorithm is None:
        return f"a proof with {proof.mechanism} is not of a key that wraps"
    if algorithm not in token_scheme.SCHEMES:
        return f"a token makes no {algorithm} key"
    without = unwrap_template.left_out(proof.unwrapped_without)
    key = token_scheme.unwrap(master.key, algorithm, proof.wrapped, mechanism, without)
    try:
        _require_signature(
            algorithm,
            proof.public_key,
            lambda data: token_scheme.sign_in_token(key, algorithm, data),
        )
    finally:
        with suppress(PKCS11Error):
            key.destroy()
    return None


def refusal_of_stored_key(session: Session, master: MasterKey, key: WrappedKey) -> str | None:
    """Return why the key does not open a key of the database; None if it does.

    Raise PKCS11Error only if the session is lost.
    """
    if master.is_host is not (key.protection is Protection.HOST):
        return "the stored key is of another protection"
    if not master.is_host:
        return _refusal_of_stored_pair(session, master, key)
    bound = host_signing.associated_data(key.algorithm, key.public_key)
    try:
        private_key = host_key.unseal(master, key.wrapped, bound)
        _require_signature(
            key.algorithm,
            key.public_key,
            lambda data: host_signing.sign_on_host(key.algorithm, private_key, data),
        )
    except PKCS11Error as error:
        raise_if_lost(error)
        return name_of(error)
    except (BadSignature, ValueError) as error:
        return str(error)
    return None


def _refusal_of_stored_pair(session: Session, master: MasterKey, key: WrappedKey) -> str | None:
    proof = KeyProof(
        mechanism=key.mechanism,
        algorithm=key.algorithm,
        public_key=key.public_key,
        wrapped=key.wrapped,
    )
    if (first := refusal(master, proof)) is None or key.algorithm not in token_scheme.SCHEMES:
        return first
    try:
        way = find_way(session, master.key, key.algorithm)
    except Unable:
        return first
    without = sorted(attribute.name for attribute in way.without)
    return refusal(master, proof.model_copy(update={"unwrapped_without": without}))


def _require_signature(
    algorithm: Algorithm, public_key: bytes, sign: Callable[[bytes], bytes]
) -> None:
    """Have a key sign, and verify the signature. Raise BadSignature.

    The message is the one that a new key signs, with a random id: it means nothing elsewhere.
    """
    request, digest = possession_request(algorithm, uuid4())
    data = request.hash if isinstance(request, SignHash) else request.content
    finish(sign(data), public_key, algorithm, None, request, digest)


def computed_check_value(session: Session, master: MasterKey) -> bytes | None:
    """Return the check value that only the key decides; None if the token does not compute it.

    SHA-256 of a fixed, known key wrapped by this one, or of fixed bytes encrypted by it. The first
    needs C_CreateObject, the second a nonce of the host's choice: some tokens refuse. Raise
    PKCS11Error only if the session is lost.
    """
    try:
        if master.is_host:
            return _encrypted_known(master)
        return _wrapped_known(session, master)
    except PKCS11Error as error:
        raise_if_lost(error)
        return None


def _encrypted_known(master: MasterKey) -> bytes | None:
    if in_use().gcm_iv == "token":
        return None
    written = bytes(bytearray(CHECK_NONCE))  # a copy: some tokens write their own nonce into it
    nonce = GCMParams(written, None, GCM_TAG_BITS)
    encrypted = master.key.encrypt(
        CHECK_VALUE_SEED, mechanism=Mechanism.AES_GCM, mechanism_param=nonce
    )
    if written != CHECK_NONCE:
        return None
    # A token that took a nonce of its own in silence decrypts this to an error, or to other bytes.
    opened = master.key.decrypt(encrypted, mechanism=Mechanism.AES_GCM, mechanism_param=nonce)
    return hashlib.sha256(encrypted).digest() if opened == CHECK_VALUE_SEED else None


def _wrapped_known(session: Session, master: MasterKey) -> bytes | None:
    known = session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE: hashlib.sha256(CHECK_VALUE_SEED).digest(),
            Attribute.TOKEN: False,
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: True,
        }
    )
    try:
        for mechanism in CHECK_MECHANISMS:
            try:
                wrapped: bytes = master.key.wrap_key(known, mechanism=mechanism)
            except PKCS11Error as error:
                raise_if_lost(error)
                continue
            return hashlib.sha256(wrapped).digest()
        return None
    finally:
        with suppress(PKCS11Error):
            known.destroy()

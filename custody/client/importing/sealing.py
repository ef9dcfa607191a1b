"""Encryption of an imported private key to the import keys of the nodes that will hold it."""

import secrets
from collections.abc import Mapping

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import load_der_public_key

from custody.client.importing.pkcs8 import encode_pkcs8
from custody.client.importing.private_key import PrivateKey
from custody.client.importing.splitting import Dealing
from custody.wire.dealing_facts import DealingFacts
from custody.wire.hybrid_keys import HybridPublicKey
from custody.wire.imports import Wrapping

AES_KEY_SIZE = 32
"""In bytes."""
RSA_BITS = range(2048, 8192 + 1)
"""NIST SP 800-131A: fewer bits are not allowed. More take the token minutes to make."""
OAEP_HASH: dict[Wrapping, HashAlgorithm] = {
    Wrapping.RSA_OAEP_AES_KWP_SHA1: SHA1(),  # noqa: S303  # OAEP needs no collision resistance
    Wrapping.RSA_OAEP_AES_KWP_SHA256: SHA256(),
}


def wrap(key: PrivateKey, wrapping: Wrapping, import_key: bytes) -> bytes:
    """Encrypt a private key to a driver's import key, a SubjectPublicKeyInfo (RFC 5280) of RSA.

    The format is that of CKM_RSA_AES_KEY_WRAP (PKCS#11 3.1, section "RSA AES KEY WRAP"): a new
    AES-256 key by RSAES-OAEP (RFC 8017, section 7.1) without a label, with the hash also in MGF1;
    then the key's PKCS#8 by AES-KWP (RFC 5649). Raises ValueError for an import key that is not an
    RSA key of 2048 to 8192 bits, for another wrapping, and for a key that no token holds.
    """
    if wrapping not in OAEP_HASH:
        raise ValueError(f"{wrapping} is not a wrapping of RSA")
    public_key = _rsa_key(import_key)
    content = encode_pkcs8(key)
    digest = OAEP_HASH[wrapping]
    aes_key = secrets.token_bytes(AES_KEY_SIZE)
    wrapped = public_key.encrypt(aes_key, OAEP(MGF1(digest), digest, label=None))
    return wrapped + aes_key_wrap_with_padding(aes_key, content)


def seal(
    dealing: Dealing, facts: DealingFacts, import_keys: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Seal each sub-share to the import key of its signer, by name (custody/wire/hybrid_keys.py).

    Raises ValueError if the facts contradict the dealing, if an import key is missing or not
    needed, and for one that nothing can be sealed to.
    """
    _require_facts_of(dealing, facts)
    signers = facts.holders.signers
    if set(import_keys) != set(signers):
        raise ValueError("each signer, and nobody else, must have an import key")
    return {
        signer: HybridPublicKey(import_keys[signer]).seal(sub_share, facts.sealed_for(signer))
        for signer, sub_share in zip(signers, dealing.sub_shares, strict=True)
    }


def _require_facts_of(dealing: Dealing, facts: DealingFacts) -> None:
    if tuple(facts.commitments) != dealing.commitments:
        raise ValueError("the commitments are those of another dealing")
    # A Schnorr key is the x-coordinate of its point.
    if dealing.commitments[0][-len(facts.public_key) :] != facts.public_key:
        raise ValueError("the dealing is of another public key")
    if facts.holders.threshold != len(dealing.commitments):
        raise ValueError(f"the threshold of the dealing is {len(dealing.commitments)}")
    signers, sub_shares = len(facts.holders.signers), len(dealing.sub_shares)
    if signers != sub_shares:
        raise ValueError(f"there are {sub_shares} sub-shares for {signers} signers")


def _rsa_key(import_key: bytes) -> RSAPublicKey:
    try:
        public_key = load_der_public_key(import_key)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("the import key is not a public key in DER") from None
    if not isinstance(public_key, RSAPublicKey) or public_key.key_size not in RSA_BITS:
        raise ValueError("the import key is not an RSA key of 2048 to 8192 bits")
    return public_key

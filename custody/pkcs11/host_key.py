"""Encryption at rest of the keys of host signing: AES-GCM inside the HSM. Workers only.

A sealed key is the nonce (12 random bytes), then ciphertext and tag (NIST SP 800-38D).
"""

import os

from custody.pkcs11.master_key import GCM_TAG_BITS, MasterKey
from pkcs11 import GCMParams, Mechanism

MECHANISM = "AES_GCM"
NONCE_SIZE = 12
PROOF = b"custody host key proof"


def seal(master: MasterKey, private_key: bytes, associated_data: bytes) -> bytes:
    """Encrypt a private key in the token. Raises PKCS11Error."""
    nonce = os.urandom(NONCE_SIZE)
    ciphertext: bytes = master.key.encrypt(
        private_key,
        mechanism=Mechanism.AES_GCM,
        mechanism_param=GCMParams(nonce, associated_data, GCM_TAG_BITS),
    )
    return nonce + ciphertext


def unseal(master: MasterKey, sealed: bytes, associated_data: bytes) -> bytes:
    """Decrypt it again. Raises PKCS11Error, also where ciphertext or associated data differ."""
    private_key: bytes = master.key.decrypt(
        sealed[NONCE_SIZE:],
        mechanism=Mechanism.AES_GCM,
        mechanism_param=GCMParams(sealed[:NONCE_SIZE], associated_data, GCM_TAG_BITS),
    )
    return private_key


def travels(master: MasterKey) -> bool:
    """Return whether the token decrypts what it encrypts. Raises PKCS11Error."""
    return unseal(master, seal(master, PROOF, PROOF), PROOF) == PROOF

"""Encryption at rest of the keys of host signing: AES-GCM inside the HSM. Workers only.

A sealed key is the nonce (12 random bytes), then ciphertext and tag (NIST SP 800-38D). Some tokens
choose a longer nonce themselves. It is stored behind 12 zero bytes and one byte with its length.
"""

import os

from custody.pkcs11.master_key import GCM_TAG_BITS, MasterKey
from custody.pkcs11.round_trip import Unable
from custody.pkcs11.token_traits import in_use
from pkcs11 import GCMParams, Mechanism

MECHANISM = "AES_GCM"
NONCE_SIZE = 12
NONCE_SIZES = range(NONCE_SIZE, 17)
"""What tokens choose: mostly 12 bytes; Luna, 16."""
LONGER = bytes(NONCE_SIZE)
"""In place of the nonce: a longer one follows. No key is encrypted under a nonce of zeros."""
PROOF = b"custody host key proof"


class NonceReplaced(Unable):
    """The token did not encrypt under the nonce that the settings ask for."""


def seal(master: MasterKey, private_key: bytes, associated_data: bytes) -> bytes:
    """Encrypt a private key in the token. Raises PKCS11Error, or NonceReplaced."""
    by_token = in_use().gcm_iv == "token"
    asked = bytes(NONCE_SIZE) if by_token else os.urandom(NONCE_SIZE)
    # A token that chooses the nonce writes it here, or appends it to the tag. python-pkcs11 hands
    # the token the memory of this object, so it must be a copy that nothing else refers to.
    written = bytes(bytearray(asked))
    output: bytes = master.key.encrypt(
        private_key,
        mechanism=Mechanism.AES_GCM,
        mechanism_param=GCMParams(written, associated_data, GCM_TAG_BITS),
    )
    size = len(private_key) + GCM_TAG_BITS // 8
    ciphertext, appended = output[:size], output[size:]
    nonce = appended or written
    if by_token and nonce == asked:
        raise NonceReplaced(
            'the token chooses no IV for AES-GCM, although gcm_iv = "token". Take that setting out'
        )
    if not by_token and nonce != asked:
        raise NonceReplaced('the token chooses the IV of AES-GCM itself. Set gcm_iv = "token"')
    if len(nonce) not in NONCE_SIZES:
        raise NonceReplaced(f"the token chose an IV of {len(nonce)} bytes for AES-GCM")
    if len(nonce) == NONCE_SIZE:
        return nonce + ciphertext
    return LONGER + bytes([len(nonce)]) + nonce + ciphertext


def unseal(master: MasterKey, sealed: bytes, associated_data: bytes) -> bytes:
    """Decrypt it again. Raises PKCS11Error, also where ciphertext or associated data differ."""
    nonce, ciphertext = sealed[:NONCE_SIZE], sealed[NONCE_SIZE:]
    if nonce == LONGER and ciphertext[:1] and ciphertext[0] in NONCE_SIZES:
        end = 1 + ciphertext[0]
        nonce, ciphertext = ciphertext[1:end], ciphertext[end:]
    parameters = GCMParams(nonce[:NONCE_SIZE], associated_data, GCM_TAG_BITS)
    parameters.nonce = nonce  # python-pkcs11 itself refuses to make one with more than 12 bytes
    private_key: bytes = master.key.decrypt(
        ciphertext, mechanism=Mechanism.AES_GCM, mechanism_param=parameters
    )
    return private_key


def travels(master: MasterKey) -> bool:
    """Return whether the token decrypts what it encrypts. Raises PKCS11Error."""
    return unseal(master, seal(master, PROOF, PROOF), PROOF) == PROOF

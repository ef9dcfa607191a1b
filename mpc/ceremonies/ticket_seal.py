"""Seals what participants tell each other without keys of the ceremony, from the ticket's secret.

That is the private part of a hello, which is sent before such keys are known, and the reason of an
abort, which may come before them too. Every participant was given the secret; a delivery server was
not. Pure.
"""

import os
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from custody.wire.framing import Domain, tagged

KEY_BYTES = 32
NONCE_BYTES = 12
ABORT_CODE = re.compile(r"[a-z_]{1,40}")
CODE_BYTES = 40
"""Every abort reason is padded to this size."""
NO_REASON = "no_reason"

_HELLO = b"hello"
_ABORT = b"abort"


class TicketSeal:
    """Seals and opens for the participants of one ceremony.

    AES-256-GCM with random nonces, under a key for each purpose and sender: HKDF-SHA256 of the
    ticket's secret, salted with the hash of the whole ticket. What one participant has sealed
    therefore opens neither under another ticket nor as another participant's.
    """

    def __init__(self, secret: bytes, ticket_digest: bytes) -> None:
        self._secret = secret
        self._ticket_digest = ticket_digest

    def seal_hello(self, sender: int, plaintext: bytes) -> bytes:
        """Seal the private part of a hello. ``sender``: the sender's index."""
        return self._seal(_HELLO, sender, plaintext)

    def open_hello(self, sender: int, sealed: bytes) -> bytes:
        """Return the private part of a hello. Raises ValueError when it does not open."""
        return self._open(_HELLO, sender, sealed)

    def seal_reason(self, sender: int, code: str) -> bytes:
        """Seal why a participant ends the ceremony; all reasons have the same size.

        ``code``: as in an outcome; one that ABORT_CODE does not match is replaced by NO_REASON.
        """
        known = code if ABORT_CODE.fullmatch(code) else NO_REASON
        return self._seal(_ABORT, sender, known.encode().ljust(CODE_BYTES))

    def open_reason(self, sender: int, sealed: bytes) -> str:
        """Return the code; NO_REASON for what this sender has not sealed, or is not a code."""
        try:
            code = self._open(_ABORT, sender, sealed).decode("ascii", "replace").rstrip()
        except ValueError:
            return NO_REASON
        return code if ABORT_CODE.fullmatch(code) else NO_REASON

    def _seal(self, purpose: bytes, sender: int, plaintext: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self._key(purpose, sender)).encrypt(nonce, plaintext, None)

    def _open(self, purpose: bytes, sender: int, sealed: bytes) -> bytes:
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return AESGCM(self._key(purpose, sender)).decrypt(nonce, ciphertext, None)
        except (InvalidTag, ValueError):  # ValueError: the nonce is too short
            raise ValueError("it was not sealed under this ticket by this participant") from None

    def _key(self, purpose: bytes, sender: int) -> bytes:
        info = tagged(Domain.TICKET_SEAL, purpose, bytes([sender]))
        return HKDF(SHA256(), KEY_BYTES, self._ticket_digest, info).derive(self._secret)

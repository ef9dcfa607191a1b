"""The threshold protocols: DKG, signing, refresh and repair as sessions of rounds.

Indices are 1..n. Messages and shares are compact, versioned bytes, laid out in
`mpc/native/MESSAGES.md`. One session is one participant's part in one ceremony:

    messages = session.start()
    for _ in range(session.exchanges):
        messages = session.advance(exchange(messages))
    outcome = session.result()

A session works in the process that made it, once, and any error ends it. Every call releases the
interpreter lock. The caller authenticates senders, checks that a broadcast was the same for all
(the echo) and holds the ban locks; see docs/explanation/mpc.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

PROTOCOLS: tuple[str, ...]
"""dkls23-secp256k1, frost-ed25519, frost-secp256k1-tr."""

MAX_SIGNERS: int
"""The most signers that a key may have."""

class ProtocolAbort(Exception):
    """The protocol failed; a fresh ceremony may succeed."""

    culprits: tuple[int, ...]
    """Whose messages failed a check; empty where nobody can be named."""
    reason: str

class BanCounterparty(Exception):
    """Never again with `culprit`, for this key and its children (dkls23 signing only)."""

    culprit: int
    reason: str

class LocalMisuse(Exception):
    """Wrong arguments, wrong process, a spent session, a damaged share, or a panic."""

@final
class Messages:
    """What one exchange sends."""

    @property
    def broadcast(self) -> bytes:
        """The same to each other participant; b"" when there is none."""

    @property
    def private(self) -> dict[int, bytes]:
        """Recipient -> what goes to it alone; absent when there is nothing."""

Incoming = Mapping[int, tuple[bytes, bytes]]
"""Sender -> its broadcast and its private message to us, b"" for none. Exactly one entry for each
other participant."""

@final
class Share:
    """A key share. It can be stored and used, not looked into, copied or pickled."""

    @staticmethod
    def load(data: bytes) -> Share:
        """A share of `to_bytes`, once it was found whole. Raises LocalMisuse with the reason."""

    def to_bytes(self) -> bytes:
        """Secret. 35 bytes of header, then postcard."""

    @property
    def protocol(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def threshold(self) -> int: ...
    @property
    def signers(self) -> int: ...
    @property
    def public_key(self) -> bytes:
        """33 bytes SEC1 compressed (ECDSA), 32 raw (Ed25519), 32 x-only (BIP-340 output key)."""

    @property
    def chain_code(self) -> bytes:
        """32 bytes; b"" where the protocol has none."""

    @property
    def verifying_shares(self) -> dict[int, bytes]: ...
    @property
    def is_repaired(self) -> bool:
        """It goes into Refresh; Signing refuses it."""

    @property
    def taproot_tweaked(self) -> bool:
        """The public key already is tweaked by BIP-341."""

    def transcript(self) -> bytes:
        """32 bytes: the hash of all that the holders of one generation must agree on."""

class _Session:
    """What the four ceremonies have in common. Errors: ProtocolAbort, LocalMisuse."""

    @property
    def exchanges(self) -> int:
        """How many times messages are exchanged."""

    @property
    def guarded(self) -> frozenset[int]:
        """The `advance` calls (the first is 1) that must run under the ban locks."""

    def start(self) -> Messages: ...
    def advance(self, incoming: Incoming) -> Messages | None:
        """What the exchange brought goes in; None after the last one, when `result` is there."""

    def result(self) -> Any:
        """Once."""

@final
class Dkg(_Session):
    """All n make a key. The last exchange compares what they arrived at."""

    def __init__(
        self, protocol: str, index: int, threshold: int, signers: int, session_id: bytes
    ) -> None:
        """`session_id`: 32 fresh bytes that every participant contributed to."""

    def result(self) -> Share: ...

@final
class Signing(_Session):
    """Exactly t sign; each of them gets the signature. advance also raises BanCounterparty."""

    def __init__(
        self,
        share: Share,
        participants: Sequence[int],
        message: bytes,
        session_id: bytes,
        path: Sequence[int] = ...,
    ) -> None:
        """Start one signature by `participants`: t indices, ours among them.

        `message`: a digest of 32 bytes; for Ed25519 the message. `path`: unhardened BIP-32,
        dkls23 only.
        """

    def result(self) -> bytes:
        """Return the verified signature: r, low s, recovery id (65 bytes); of FROST 64 bytes."""

@final
class Refresh(_Session):
    """One refresh: all n make new shares of the same key, the next generation."""

    def __init__(self, share: Share, session_id: bytes) -> None: ...
    def result(self) -> Share: ...

@final
class Repair(_Session):
    """`helpers` (t of them) give `target` its share back; a refresh must follow."""

    def __init__(
        self,
        protocol: str,
        index: int,
        target: int,
        helpers: Sequence[int],
        share: Share | None,
        session_id: bytes,
    ) -> None:
        """Start a repair. `share`: ours as a helper; None at the target.

        The target learns the public data from the helpers, who must all agree. It compares the
        public key with the key that it knows.
        """

    def result(self) -> Share | None:
        """Return the share at the target, None at a helper."""

def derive_public_key(public_key: bytes, chain_code: bytes, path: Sequence[int]) -> bytes:
    """BIP-32 CKDpub along `path`, unhardened. Raises LocalMisuse."""

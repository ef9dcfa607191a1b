"""The threshold protocols: DKG, signing, refresh and repair as sessions of rounds; dealings.

Indices are 1..n. Messages and shares are versioned bytes, with the layout in
`mpc/native/MESSAGES.md`. One session is one participant's part in one ceremony:

    messages = session.start()
    for _ in range(session.exchanges):
        messages = session.advance(exchange(messages))
    outcome = session.result()

A session works once, in the process that made it, and any error ends it. Every call releases the
interpreter lock. The caller authenticates senders, and checks by the echo that all participants
received the same broadcasts. The caller also holds the ban locks; see docs/explanation/mpc.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

PROTOCOLS: tuple[str, ...]
"""dkls23-secp256k1, frost-ed25519, frost-secp256k1-tr."""

MAX_SIGNERS: int
"""The largest number of signers of a key."""

class ProtocolAbort(Exception):
    """The protocol failed; a new ceremony may succeed."""

    culprits: tuple[int, ...]
    """Signers whose messages failed a check; empty if no signer is known to be at fault."""
    reason: str

class BanCounterparty(Exception):
    """Never sign with `culprit` again, for this key and its children (dkls23 signing only)."""

    culprit: int
    reason: str

class LocalMisuse(Exception):
    """Wrong arguments, wrong process, a spent session, a damaged share, or a panic."""

@final
class Messages:
    """The messages that one exchange sends."""

    @property
    def broadcast(self) -> bytes:
        """The message to all other participants; b"" if there is none."""

    @property
    def private(self) -> dict[int, bytes]:
        """Recipient -> the message to this recipient alone; absent if there is none."""

Incoming = Mapping[int, tuple[bytes, bytes]]
"""Sender -> its broadcast and its private message to us, b"" for none. There is exactly one entry
for each other participant."""

@final
class Share:
    """A key share. Python code can store and use it, but not read, copy or pickle it."""

    @staticmethod
    def load(data: bytes) -> Share:
        """Return the share of `to_bytes`. Raise LocalMisuse, with the reason, if it is damaged."""

    def to_bytes(self) -> bytes:
        """Return the share as bytes, which are secret: 35 bytes of header, then postcard."""

    def secret_share(self) -> bytes:
        """Return the secret share, an integer of 32 bytes, most significant byte first.

        The key's private key is the value at 0 of the polynomial through t such points
        (index, secret share), modulo the order of the curve's group; of a BIP-340 key perhaps its
        negative. It is secret: only share copies (mpc/layer4) need it.
        """

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
        """32 bytes; b"" if the protocol has no chain code."""

    @property
    def verifying_shares(self) -> dict[int, bytes]: ...
    @property
    def is_repaired(self) -> bool:
        """True if a repair made the share: Refresh accepts it, and Signing refuses it."""

    @property
    def taproot_tweaked(self) -> bool:
        """True if the public key is tweaked already (BIP-341)."""

    def transcript(self) -> bytes:
        """Return the hash (32 bytes) of the facts that a generation's holders have in common."""

class _Session:
    """Base of the four ceremonies. Errors: ProtocolAbort, LocalMisuse."""

    @property
    def exchanges(self) -> int:
        """The number of exchanges."""

    @property
    def guarded(self) -> frozenset[int]:
        """The `advance` calls (the first is 1) that must run under the ban locks."""

    def start(self) -> Messages: ...
    def advance(self, incoming: Incoming) -> Messages | None:
        """Take the messages of an exchange. Return None after the last one; then call `result`."""

    def result(self) -> Any:
        """Return the result. It can be called once."""

@final
class Dkg(_Session):
    """All n signers make a key. The last exchange compares their results."""

    def __init__(
        self, protocol: str, index: int, threshold: int, signers: int, session_id: bytes
    ) -> None:
        """Start a DKG. `session_id`: 32 fresh bytes to which every participant contributed."""

    def result(self) -> Share: ...

@final
class Signing(_Session):
    """Exactly t signers sign, and each gets the signature. advance also raises BanCounterparty."""

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
    """All n signers make new shares of the same key: the next generation."""

    def __init__(self, share: Share, session_id: bytes) -> None: ...
    def result(self) -> Share: ...

@final
class Repair(_Session):
    """t signers, the `helpers`, give `target` its share again. A refresh must follow."""

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

@final
class Dealing:
    """What a dealer sends: commitments to all signers, and one sub-share to each signer.

    A point is encoded as a verifying share: 33 bytes SEC1 compressed on secp256k1 (also for
    BIP-340), 32 bytes on Ed25519. A sub-share is an integer of 32 bytes, most significant byte
    first on all curves.
    """

    @property
    def commitments(self) -> tuple[bytes, ...]:
        """The commitments to the coefficients of the dealer's polynomial, the constant first."""

    @property
    def sub_shares(self) -> dict[int, bytes]:
        """Signer -> the value of the polynomial at this signer's index. Each one is secret."""

def deal(share: Share, quorum: Sequence[int], threshold: int, signers: int) -> Dealing:
    """Deal our part of the key to `signers` new signers, with the new `threshold`.

    `quorum`: the old signers that deal, as many as the old threshold, ours among them. Our part is
    our secret share times its Lagrange coefficient (docs/adr/0036-import-and-copy-of-shares.md).
    Raise LocalMisuse for a repaired share, another quorum, and sizes that no key can have.
    """

def dealt_constant(
    protocol: str, quorum: Sequence[int], index: int, verifying_share: bytes
) -> bytes:
    """Return the first commitment of an honest dealer `index`, from its verifying share."""

Received = tuple[bytes | None, Sequence[bytes], bytes]
"""One dealing, as one signer received it: the first commitment that the dealer must have made
(None: any), all commitments, and our sub-share."""

def dealt_share(
    *,
    protocol: str,
    index: int,
    threshold: int,
    signers: int,
    public_key: bytes,
    chain_code: bytes,
    session_id: bytes,
    dealings: Mapping[int, Received],
) -> Share:
    """Check dealings (by dealer), and return the share that they give signer `index` together.

    The share is like a repaired share: `Refresh` of all signers must follow. `session_id`: 32
    bytes that name the ceremony. `chain_code`: 32 bytes for dkls23, b"" for the others. A Taproot
    key must be tweaked already (BIP-341). Raise ProtocolAbort if a dealing is invalid: its
    `culprits` are dealers. Raise LocalMisuse for the other arguments.
    """

def derive_public_key(public_key: bytes, chain_code: bytes, path: Sequence[int]) -> bytes:
    """Return a child's public key: BIP-32 CKDpub along `path`, unhardened. Raise LocalMisuse."""

"""Sealed messages of a ceremony: nobody between the signers can read or change them.

A channel is one participant's end of one ceremony: first a hello from each (exchange 0), then one
envelope for each other participant at each exchange. Pure: bytes in, bytes out, no I/O.

Every message is 64 bytes of signature and what is signed. A hello's is in hello.py. An envelope is
a header and a ciphertext:

    version 1 | meeting 16 | exchange 2 | sender's index 1 | recipient's index 1 | ciphertext

The sender's identity key signs the header and the ciphertext's SHA-256 (Ed25519, DSSE's encoding);
HPKE binds the same header (``info``). The plaintext is echo, broadcast and private message. The
header is in clear: the meeting is the delivery server's own name for the ceremony.

The echo is a hash over all broadcasts of all exchanges before, in order of index; at exchange 1 it
is the session id, which covers the hellos and the ticket. A participant that tells one peer this
and another that is found one exchange later, before what was said then is used. It covers all but
the last exchange's broadcasts: DKG and refresh end with an exchange in which all compare their
transcripts, and a signature made of shares that were not the same for all does not verify.
"""

import hashlib
import secrets
import struct
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from custody.wire.delivery import MAX_MESSAGE
from custody.wire.framing import Domain, join, split_exactly, tagged, tagged_hash
from custody.wire.hybrid_keys import HybridPublicKey
from custody.wire.public_keys import check_ed25519
from custody.wire.signed_bytes import SignedBytes, SigningKey, pre_authentication_encoding
from custody.wire.tickets import Ticket
from mpc.ceremonies.ceremony_keys import CeremonyKey
from mpc.ceremonies.hello import CONTRIBUTION_BYTES, MAX_HELLO, Hello, Opened
from mpc.ceremonies.ticket_seal import TicketSeal

HELLO_TYPE = "application/vnd.custody.ceremony-hello.v1"
ENVELOPE_TYPE = "application/vnd.custody.ceremony-envelope.v1"

VERSION = 1
SIGNATURE_BYTES = 64
_HEADER = struct.Struct(">B16sHBB")


class BadMessage(Exception):
    """A message that ends the ceremony; nothing more may be sent in it.

    ``code``: bad_message, echo_mismatch or not_pinned. ``culprits``: whose message it was, as the
    delivery server said; empty where it shows only that somebody lies. A message that its sender
    has not signed for this place may also be the delivery server's doing, and the reason says so.
    """

    def __init__(self, culprits: tuple[str, ...], code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.culprits = culprits
        self.code = code
        self.reason = reason


class CeremonyChannel:
    """One participant's end of one ceremony.

    Calls come in this order, each once: hello, open_hellos, seal(1), open(1), seal(2), open(2) ...
    Another order raises ValueError. After BadMessage the channel seals and opens nothing more. Use
    in a forked process raises RuntimeError.
    """

    def __init__(
        self,
        ticket: Ticket,
        ticket_digest: bytes,
        me: str,
        signer: SigningKey,
        identities: Mapping[str, bytes],
    ) -> None:
        """``ticket_digest``: SHA-256 of the bytes that were signed. ``identities``: Ed25519 keys.

        Raises BadMessage not_pinned when a participant is not among the identities.
        """
        self._ticket = ticket
        self._digest = ticket_digest
        self._seal_of_ticket = TicketSeal(ticket.secret, ticket_digest)
        self._me = me
        self._signer = signer
        self._index = {each.signer: each.index for each in ticket.participants}
        self._others = [name for name in self._index if name != me]
        unknown = tuple(name for name in self._others if name not in identities)
        if unknown:
            raise BadMessage(unknown, "not_pinned", f"{', '.join(unknown)} is not pinned here")
        if me not in self._index:
            raise ValueError(f"{me} does not take part")
        self._identities = {
            name: Ed25519PublicKey.from_public_bytes(check_ed25519(identities[name]))
            for name in self._others
        }
        self._key = CeremonyKey()
        self._peers: dict[str, HybridPublicKey] = {}
        self._hello = b""
        self._broadcast = b""
        self._echo = b""
        self._next = ("hello", 0)

    def hello(self, bans: Sequence[SignedBytes], opening: bytes = b"") -> bytes:
        """Return the message for each other participant at exchange 0."""
        self._take_turn("hello", 0, then=("open", 0))
        index, private = self._index[self._me], Opened(opening, tuple(bans)).to_bytes()
        self._hello = Hello(
            meeting=self._ticket.meeting,
            ticket_digest=self._digest,
            index=index,
            kem_public_key=self._key.public_key,
            contribution=secrets.token_bytes(CONTRIBUTION_BYTES),
            sealed=self._seal_of_ticket.seal_hello(index, private),
        ).to_bytes()
        return self._signer.sign(HELLO_TYPE, self._hello).signature + self._hello

    def open_hellos(self, incoming: Mapping[str, bytes]) -> dict[str, Opened]:
        """Open the others' hellos. Raise BadMessage."""
        self._take_turn("open", 0, then=("ended", 0))
        self._require_senders(incoming)
        payloads, opened = {self._me: self._hello}, {}
        for sender in self._others:
            payloads[sender], opened[sender] = self._open_hello(sender, incoming[sender])
        self._echo = tagged_hash(
            Domain.SESSION,
            self._ticket.ceremony.bytes,
            self._digest,
            *(payloads[name] for name in self._index),
        )
        self._session_id = self._echo
        self._next = ("seal", 1)
        return opened

    @property
    def session_id(self) -> bytes:
        """32 bytes that no participant could choose alone; there once the hellos are open."""
        if not self._peers:
            raise ValueError("there is no session id before the hellos are open")
        return self._session_id

    def seal(self, number: int, broadcast: bytes, private: Mapping[str, bytes]) -> dict[str, bytes]:
        """Our envelopes of one exchange, by recipient. ``private`` may leave recipients out.

        Raises BadMessage when a peer's key of this ceremony is none.
        """
        strangers = private.keys() - set(self._others)
        if strangers:
            raise ValueError(f"{', '.join(sorted(strangers))} does not take part")
        self._take_turn("seal", number, then=("ended", number))
        self._broadcast = broadcast
        sealed = {
            recipient: self._seal(number, recipient, broadcast, private.get(recipient, b""))
            for recipient in self._others
        }
        self._next = ("open", number)
        return sealed

    def open(self, number: int, incoming: Mapping[str, bytes]) -> dict[str, tuple[bytes, bytes]]:
        """Broadcast and private message of each other participant. Raises BadMessage."""
        self._take_turn("open", number, then=("ended", number))
        self._require_senders(incoming)
        opened = {sender: self._open(number, sender, incoming[sender]) for sender in self._others}
        # after all are known to be from their senders: now the first difference tells the truth
        for sender, (echo, _, _) in opened.items():
            if echo != self._echo:
                raise BadMessage(
                    (),
                    "echo_mismatch",
                    f"{sender} was told something else than we were before exchange {number}",
                )
        broadcasts = {self._me: self._broadcast} | {
            sender: broadcast for sender, (_, broadcast, _) in opened.items()
        }
        self._echo = tagged_hash(
            Domain.ECHO,
            self._echo,
            number.to_bytes(2, "big"),
            *(broadcasts[name] for name in self._index),
        )
        self._next = ("seal", number + 1)
        return {sender: (broadcast, private) for sender, (_, broadcast, private) in opened.items()}

    def _take_turn(self, turn: str, number: int, then: tuple[str, int]) -> None:
        self._key.require_own_process()
        if self._next != (turn, number):
            raise ValueError(f"{turn} {number}, when {self._next[0]} {self._next[1]} is next")
        self._next = then

    def _require_senders(self, incoming: Mapping[str, bytes]) -> None:
        if incoming.keys() != set(self._others):
            raise BadMessage(
                (),
                "bad_message",
                f"messages of {', '.join(sorted(incoming)) or 'nobody'} arrived, "
                f"those of {', '.join(self._others)} were due",
            )

    def _verify(self, sender: str, signature: bytes, payload_type: str, signed: bytes) -> None:
        try:
            self._identities[sender].verify(
                signature, pre_authentication_encoding(payload_type, signed)
            )
        except InvalidSignature:
            raise _bad(
                sender,
                "is not signed by its identity key as pinned here: it was changed on its way, or "
                "never was that signer's",
            ) from None

    def _open_hello(self, sender: str, message: bytes) -> tuple[bytes, Opened]:
        if len(message) > MAX_HELLO:
            raise _bad(sender, f"has {len(message)} bytes")
        signature, payload = message[:SIGNATURE_BYTES], message[SIGNATURE_BYTES:]
        self._verify(sender, signature, HELLO_TYPE, payload)
        try:
            hello = Hello.from_bytes(payload)
            peer = HybridPublicKey(hello.kem_public_key)
        except ValueError as error:
            raise _bad(sender, f"is not a hello: {error}") from None
        if hello.meeting != self._ticket.meeting:
            raise _bad(sender, "is for another ceremony")
        if hello.index != self._index[sender]:
            raise _bad(sender, f"claims index {hello.index}")
        if hello.ticket_digest != self._digest:
            # the control plane's doing, not the sender's
            raise BadMessage((), "bad_message", f"{sender} was given another ticket than we were")
        try:
            private = self._seal_of_ticket.open_hello(hello.index, hello.sealed)
            opened = Opened.from_bytes(private)
        except ValueError as error:
            raise _bad(sender, f"does not open: {error}") from None
        self._peers[sender] = peer
        return payload, opened

    def _seal(self, number: int, recipient: str, broadcast: bytes, private: bytes) -> bytes:
        header = self._header(number, self._me, recipient)
        plaintext = join(self._echo, broadcast, private)
        try:
            ciphertext = self._peers[recipient].seal(plaintext, tagged(Domain.SEAL, header))
        except ValueError:
            raise BadMessage(
                (recipient,), "bad_message", f"nothing can be sealed to the key of {recipient}"
            ) from None
        signed = self._signer.sign(ENVELOPE_TYPE, _signed(header, ciphertext))
        message = signed.signature + header + ciphertext
        if len(message) > MAX_MESSAGE:
            raise ValueError(f"a message of {len(message)} bytes, when {MAX_MESSAGE} are the most")
        return message

    def _open(self, number: int, sender: str, message: bytes) -> tuple[bytes, bytes, bytes]:
        start = SIGNATURE_BYTES + _HEADER.size
        if not start < len(message) <= MAX_MESSAGE:
            raise _bad(sender, f"has {len(message)} bytes")
        signature, header = message[:SIGNATURE_BYTES], message[SIGNATURE_BYTES:start]
        ciphertext = message[start:]
        self._verify(sender, signature, ENVELOPE_TYPE, _signed(header, ciphertext))
        if header != self._header(number, sender, self._me):
            raise _bad(sender, "is for another place: it was replayed, or sent wrongly")
        sealed_for = tagged(Domain.SEAL, header)
        try:
            echo, broadcast, private = split_exactly(self._key.open(ciphertext, sealed_for), 3)
        except ValueError as error:
            raise _bad(sender, f"does not open: {error}") from None
        return echo, broadcast, private

    def _header(self, number: int, sender: str, recipient: str) -> bytes:
        return _HEADER.pack(
            VERSION,
            self._ticket.meeting.bytes,
            number,
            self._index[sender],
            self._index[recipient],
        )


def _signed(header: bytes, ciphertext: bytes) -> bytes:
    return header + hashlib.sha256(ciphertext).digest()


def _bad(sender: str, what: str) -> BadMessage:
    return BadMessage((sender,), "bad_message", f"what came as {sender}'s message {what}")

"""The protocol between signers and a delivery server, over mutual TLS.

    POST /delivery/v1/meetings/<meeting>/exchanges/<number>
    POST /delivery/v1/meetings/<meeting>/abort
    GET  /delivery/v1/server

The first request hands in a participant's messages of one exchange, one message for each other
participant. Its answer contains the others' messages, once all participants have handed in. Bodies
are joined fields (framing.py): a delivery ticket (empty after exchange 0), then pairs of a name and
a message. Answers contain no ticket. Every failure is answered with a DeliveryProblem in JSON.

A delivery server learns who meets when, and nothing else: no key, request, job, group, protocol or
digest, and no reason of an abort.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from custody.wire.answers import Answer, Open
from custody.wire.encoding import Base64Bytes, Model
from custody.wire.framing import Malformed, join, split, split_exactly
from custody.wire.group_sizes import MAX_SIGNERS, MIN_THRESHOLD
from custody.wire.signed_bytes import MAX_PINNED_KEYS, SignedBytes
from custody.wire.tickets import Ticket

PREFIX = "/delivery/v1"
MAX_TICKET = 4 * 1024
"""Bytes of a delivery ticket with its signature: 16 names of 63 letters need 2 KiB."""
MAX_MESSAGE = 512 * 1024
"""Bytes of a message: the protocols' largest pair of broadcast and private message is 384 KiB."""
MAX_ABORT_REASON = 256
"""Bytes of an abort's sealed reason."""


class DeliveryTicket(Model):
    """The control plane's signed permission to deliver one ceremony (DELIVERY_TICKET_TYPE).

    The limits are the same for each protocol and kind, so they reveal nothing about the ceremony.
    """

    version: Literal[1] = 1
    meeting: UUID
    participants: Annotated[list[str], Field(min_length=MIN_THRESHOLD, max_length=MAX_SIGNERS)]
    """The participants' names, in the order of the ticket's participants."""
    delivery: str
    """Name of the delivery server."""
    message_bytes: Annotated[int, Field(ge=1)]
    """Of one message."""
    held_bytes: Annotated[int, Field(ge=1)]
    """Limit of all messages that the server holds for this meeting at one time."""
    expires_at: AwareDatetime

    @model_validator(mode="after")
    def _each_takes_part_once(self) -> "DeliveryTicket":
        if len(set(self.participants)) != len(self.participants):
            raise ValueError("a participant is named twice")
        return self

    @classmethod
    def of(cls, ticket: Ticket) -> "DeliveryTicket":
        """Return the delivery ticket that belongs to a ticket."""
        pairs = len(ticket.participants) * (len(ticket.participants) - 1)
        return cls(
            meeting=ticket.meeting,
            participants=[each.signer for each in ticket.participants],
            delivery=ticket.delivery,
            message_bytes=MAX_MESSAGE,
            held_bytes=2 * pairs * MAX_MESSAGE,  # two exchanges
            expires_at=ticket.expires_at,
        )


class DeliveryCode(StrEnum):
    """The codes with which a delivery server refuses a request."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    REQUEST_TIMEOUT = "request_timeout"
    """The complete body did not arrive in time."""
    CERTIFICATE_REJECTED = "certificate_rejected"
    BAD_TICKET = "bad_ticket"
    NOT_A_PARTICIPANT = "not_a_participant"
    CONFLICT = "conflict"
    """The bytes differ from those handed in before, or the exchange is not due."""
    ABORTED = "aborted"
    """``signer`` ended the ceremony; ``abort_reason`` is the sealed reason for the participants."""
    EXPIRED = "expired"
    """The ticket's time is over; the signers in ``silent`` have not handed in."""
    UNKNOWN_CEREMONY = "unknown_ceremony"
    """The meeting has not begun here, or was forgotten after a restart or a long silence."""
    BUSY = "busy"
    """This server has reached its limit of sessions or bytes; another server may have room."""


class DeliveryProblem(Answer):
    code: Open[DeliveryCode]
    detail: str
    signer: str | None = None
    abort_reason: Base64Bytes | None = None
    """The bytes that the signer sealed."""
    silent: list[str] = Field(default_factory=list)


class ServerFacts(Answer):
    """Answer to GET /delivery/v1/server."""

    name: str
    version: str
    time: AwareDatetime | None = None
    """The server's clock."""
    job_signing_keys: Annotated[tuple[str, ...], Field(max_length=MAX_PINNED_KEYS)] = ()
    """Ids of the job-signing keys that the server pins."""


def exchange_path(meeting: object, number: int) -> str:
    return f"{PREFIX}/meetings/{meeting}/exchanges/{number}"


def abort_path(meeting: object) -> str:
    return f"{PREFIX}/meetings/{meeting}/abort"


SERVER_PATH = f"{PREFIX}/server"
TIME_HEADER = "Custody-Time"
"""Header with a signer's time (RFC 3339) at SERVER_PATH: a server compares its clock with it."""


def encode_hand_in(ticket: SignedBytes | None, messages: Mapping[str, bytes]) -> bytes:
    """Return the body of a hand-in."""
    return join(_ticket_bytes(ticket)) + encode_messages(messages)


def decode_hand_in(body: bytes) -> tuple[SignedBytes | None, dict[str, bytes]]:
    """Return ticket and messages by recipient. Raise Malformed."""
    fields = split(body, 1 + 2 * MAX_SIGNERS)
    if not fields:
        raise Malformed("no ticket field")
    return _ticket(fields[0]), _messages(fields[1:])


def encode_messages(messages: Mapping[str, bytes]) -> bytes:
    """Return the body of the answer: messages by sender."""
    return join(*(field for name, body in messages.items() for field in (name.encode(), body)))


def decode_messages(body: bytes) -> dict[str, bytes]:
    """Return messages by sender. Raise Malformed."""
    return _messages(split(body, 2 * MAX_SIGNERS))


def encode_abort(ticket: SignedBytes, reason: bytes) -> bytes:
    """Return the body of an abort; ``reason`` is sealed for the other participants."""
    return join(_ticket_bytes(ticket), reason)


def decode_abort(body: bytes) -> tuple[SignedBytes, bytes]:
    """Return ticket and sealed reason. Raise Malformed."""
    first, reason = split_exactly(body, 2)
    ticket = _ticket(first)
    if ticket is None or len(reason) > MAX_ABORT_REASON:
        raise Malformed(f"an abort has a ticket and a reason of at most {MAX_ABORT_REASON} bytes")
    return ticket, reason


def _messages(fields: list[bytes]) -> dict[str, bytes]:
    messages: dict[str, bytes] = {}
    if len(fields) % 2:
        raise Malformed("a name without a message")
    for name, body in zip(fields[::2], fields[1::2], strict=True):
        text = name.decode("ascii", "replace")
        if text in messages:
            raise Malformed(f"two messages for {text[:64]!r}")
        messages[text] = body
    return messages


def _ticket_bytes(ticket: SignedBytes | None) -> bytes:
    if ticket is None:
        return b""
    return join(ticket.payload, ticket.signature, ticket.signing_key_id.encode())


def _ticket(data: bytes) -> SignedBytes | None:
    if not data:
        return None
    if len(data) > MAX_TICKET:
        raise Malformed(f"a ticket of {len(data)} bytes: at most {MAX_TICKET} are allowed")
    payload, signature, key_id = split_exactly(data, 3)
    return SignedBytes(
        payload=payload, signature=signature, signing_key_id=key_id.decode("ascii", "replace")
    )

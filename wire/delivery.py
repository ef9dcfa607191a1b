"""What signers and a delivery server say to each other, over mutual TLS.

    POST /delivery/v1/ceremonies/<ceremony>/exchanges/<number>
    POST /delivery/v1/ceremonies/<ceremony>/abort
    GET  /delivery/v1/server

The first hands in a participant's messages of one exchange, one for each other participant, and is
answered with theirs once all have handed in. Bodies are wire.framing's joined fields: a ticket
(empty after exchange 0), then a name and a message, and again; the answer's have no ticket.
Anything but success is answered with a DeliveryProblem in JSON.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from wire.answers import Answer, Open
from wire.envelope import SignedBytes
from wire.framing import Malformed, join, split, split_exactly
from wire.tickets import MAX_SIGNERS

PREFIX = "/delivery/v1"
MAX_TICKET = 16 * 1024
"""Bytes of a ticket with its signature: 16 signers with names of 63 letters need 4 KiB."""
ABORT_CODE = re.compile(r"[a-z_]{1,40}")


class DeliveryCode(StrEnum):
    """Why a delivery server does not answer with messages."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    CERTIFICATE_REJECTED = "certificate_rejected"
    BAD_TICKET = "bad_ticket"
    NOT_A_PARTICIPANT = "not_a_participant"
    CONFLICT = "conflict"
    """Other bytes than were handed in before, or an exchange that is not due."""
    ABORTED = "aborted"
    """``signer`` ended the ceremony, for the reason ``abort_code``."""
    EXPIRED = "expired"
    """The ticket's time is over; ``silent`` have not handed in."""
    UNKNOWN_CEREMONY = "unknown_ceremony"
    """Not begun here, or forgotten: the server was started anew, or nobody came for long."""
    BUSY = "busy"
    """As many sessions or bytes as this server takes; another one may have room."""


class DeliveryProblem(Answer):
    code: Open[DeliveryCode]
    detail: str
    signer: str | None = None
    abort_code: str | None = None
    silent: list[str] = Field(default_factory=list)


class ServerFacts(Answer):
    """Answer to GET /delivery/v1/server."""

    name: str
    version: str


def exchange_path(ceremony: object, number: int) -> str:
    return f"{PREFIX}/ceremonies/{ceremony}/exchanges/{number}"


def abort_path(ceremony: object) -> str:
    return f"{PREFIX}/ceremonies/{ceremony}/abort"


SERVER_PATH = f"{PREFIX}/server"


def encode_hand_in(ticket: SignedBytes | None, messages: Mapping[str, bytes]) -> bytes:
    """Body of a hand-in."""
    return join(_ticket_bytes(ticket)) + encode_messages(messages)


def decode_hand_in(body: bytes) -> tuple[SignedBytes | None, dict[str, bytes]]:
    """Ticket, and messages by recipient. Raises Malformed."""
    fields = split(body, 1 + 2 * MAX_SIGNERS)
    if not fields:
        raise Malformed("no ticket field")
    return _ticket(fields[0]), _messages(fields[1:])


def encode_messages(messages: Mapping[str, bytes]) -> bytes:
    """Body of the answer: messages by sender."""
    return join(*(field for name, body in messages.items() for field in (name.encode(), body)))


def decode_messages(body: bytes) -> dict[str, bytes]:
    """Messages by sender. Raises Malformed."""
    return _messages(split(body, 2 * MAX_SIGNERS))


def encode_abort(ticket: SignedBytes, code: str) -> bytes:
    """Body of an abort; ``code``: as in an outcome's reason."""
    return join(_ticket_bytes(ticket), code.encode())


def decode_abort(body: bytes) -> tuple[SignedBytes, str]:
    """Ticket and code. Raises Malformed."""
    first, second = split_exactly(body, 2)
    ticket, code = _ticket(first), second.decode("ascii", "replace")
    if ticket is None or not ABORT_CODE.fullmatch(code):
        raise Malformed("an abort has a ticket and a code of a-z and _")
    return ticket, code


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
        raise Malformed(f"a ticket of {len(data)} bytes, when {MAX_TICKET} are the most")
    payload, signature, key_id = split_exactly(data, 3)
    return SignedBytes(
        payload=payload, signature=signature, signing_key_id=key_id.decode("ascii", "replace")
    )

"""What a lying participant does to its messages. Offsets as in mpc/native/MESSAGES.md."""

from collections.abc import Callable

from tests.unit.mpc.native.parties import Tamper

Change = Callable[[bytes], bytes]

SEC1_GENERATOR = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")


def flip(at: int) -> Change:
    """Changes the lowest bit of the byte at this offset (from the end if it is negative)
    of every message that is sent at all."""

    def change(message: bytes) -> bytes:
        if not message:
            return message
        changed = bytearray(message)
        changed[at] ^= 1
        return bytes(changed)

    return change


def put(at: int, what: bytes) -> Change:
    def change(message: bytes) -> bytes:
        assert message[at : at + len(what)] != what
        return message[:at] + what + message[at + len(what) :]

    return change


def lie(liar: int, exchange: int, part: str, change: Change, only_to: int | None = None) -> Tamper:
    """`part` is broadcast or private. Everybody else's messages arrive as they were sent."""

    def tamper(
        number: int, sender: int, recipient: int, broadcast: bytes, private: bytes
    ) -> tuple[bytes, bytes]:
        if (number, sender) != (exchange, liar) or only_to not in (None, recipient):
            return broadcast, private
        if part == "broadcast":
            return change(broadcast), private
        return broadcast, change(private)

    return tamper

"""Solana transactions, as far as it takes to tell one from any other message. Pure.

Formats: https://solana.com/docs/core/transactions (legacy and version 0) and SIMD-0385 (version 1).
What the network's validators would accept is read here as a transaction: sizes are not limited,
short lengths need not be in their shortest form, and what follows a transaction is ignored.
"""

from dataclasses import dataclass

VERSIONED = 0x80
"""Set in the first byte of a versioned message, with the version in the other seven bits."""
FIRST_OF_TEXT = 0xC0
"""UTF-8 begins below 0x80 or from here on (RFC 3629, section 3), and so does every off-chain
message, with 0xFF. What begins in between is a versioned message, or no text."""
KEY_SIZE = 32
SIGNATURE_SIZE = 64
SMALLEST = 3 + 1 + KEY_SIZE + KEY_SIZE + 1
"""Header, one account, a blockhash, no instructions."""
MAX_ACCOUNTS = 256
"""An instruction names accounts and program by one byte."""


class NoTransaction(ValueError):
    """These bytes do not begin with a Solana transaction."""


@dataclass(frozen=True)
class TransactionMessage:
    """What the accounts in ``signers`` sign to authorise a transaction. ``size`` in bytes."""

    version: int | None
    signers: tuple[bytes, ...]
    size: int


def is_transaction(content: bytes) -> bool:
    """Whether bytes begin with a transaction, or with the message of one.

    A message of a later version than those known here counts as one: by then the network may
    accept it.
    """
    for read in (read_message, _read_whole):
        try:
            read(content)
        except NoTransaction:
            continue
        return True
    return _is_of_later_version(content)


def read_message(content: bytes) -> TransactionMessage:
    """The transaction message that bytes begin with. Raises NoTransaction."""
    reader = _Reader(content)
    version = None
    if content[:1] and content[0] & VERSIONED:
        version = reader.byte() & ~VERSIONED
    match version:
        case None | 0:
            signers = _read_accounts_then_instructions(reader, has_lookups=version == 0)
        case 1:
            signers = _read_version_1(reader)
        case _:
            raise NoTransaction(f"a message of version {version}")
    return TransactionMessage(version, signers, reader.at)


def _read_whole(content: bytes) -> None:
    """Signatures, their number first, and then the message; version 1 has them at its end."""
    reader = _Reader(content)
    reader.skip(reader.length() * SIGNATURE_SIZE)
    read_message(content[reader.at :])


def _is_of_later_version(content: bytes) -> bool:
    return len(content) >= SMALLEST and VERSIONED | 2 <= content[0] < FIRST_OF_TEXT


def _read_accounts_then_instructions(reader: "_Reader", has_lookups: bool) -> tuple[bytes, ...]:
    """A legacy message, or one of version 0 after its first byte."""
    header = reader.header()
    accounts = [reader.take(KEY_SIZE) for _ in range(reader.length())]
    _require_header(header, len(accounts))
    reader.skip(KEY_SIZE)  # a recent blockhash, or a nonce
    named = 0
    for _ in range(reader.length()):
        program = reader.byte()
        indices = reader.take(reader.length())
        reader.skip(reader.length())
        named = max(named, _largest(program, indices))
    looked_up = 0
    for _ in range(reader.length() if has_lookups else 0):
        reader.skip(KEY_SIZE)  # of the lookup table
        for _ in ("writable", "readonly"):
            count = reader.length()
            reader.skip(count)
            looked_up += count
    _require_accounts(named, len(accounts) + looked_up)
    return tuple(accounts[: header[0]])


def _read_version_1(reader: "_Reader") -> tuple[bytes, ...]:
    """SIMD-0385, after its first byte: all fixed sizes first, and then what instructions bring."""
    header = reader.header()
    mask = int.from_bytes(reader.take(4), "little")
    reader.skip(KEY_SIZE)  # what limits its lifetime
    instructions, accounts_count = reader.byte(), reader.byte()
    accounts = [reader.take(KEY_SIZE) for _ in range(accounts_count)]
    _require_header(header, accounts_count)
    reader.skip(4 * mask.bit_count())
    heads = [
        (reader.byte(), reader.byte(), int.from_bytes(reader.take(2), "little"))
        for _ in range(instructions)
    ]
    named = 0
    for program, indices, data in heads:
        named = max(named, _largest(program, reader.take(indices)))
        reader.skip(data)
    _require_accounts(named, accounts_count)
    return tuple(accounts[: header[0]])


def _require_header(header: tuple[int, int, int], accounts: int) -> None:
    """Raise NoTransaction unless there are as many accounts as the header counts."""
    required, readonly_signed, readonly_unsigned = header
    if not readonly_signed < required <= required + readonly_unsigned <= accounts:
        raise NoTransaction("the header does not go with the number of accounts")


def _largest(program: int, indices: bytes) -> int:
    """The largest index in an instruction. Raises NoTransaction where the payer is its program."""
    if program == 0:
        raise NoTransaction("an instruction's program is the account that pays")
    return max(program, max(indices, default=0))


def _require_accounts(named: int, accounts: int) -> None:
    if accounts > MAX_ACCOUNTS or named >= accounts:
        raise NoTransaction("an instruction names an account that is not there")


class _Reader:
    """Takes bytes from the front. Raises NoTransaction at the end."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0

    def take(self, count: int) -> bytes:
        taken = self._content[self.at : self.at + count]
        if len(taken) != count:
            raise NoTransaction("it ends too early")
        self.at += count
        return taken

    def skip(self, count: int) -> None:
        if self.at + count > len(self._content):
            raise NoTransaction("it ends too early")
        self.at += count

    def byte(self) -> int:
        return self.take(1)[0]

    def header(self) -> tuple[int, int, int]:
        """How many accounts sign; how many of these, and of the others, are only read."""
        return self.byte(), self.byte(), self.byte()

    def length(self) -> int:
        """A compact-u16: seven bits a byte, lowest first, in up to three bytes."""
        value = 0
        for shift in (0, 7, 14):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise NoTransaction("a length of more than three bytes")

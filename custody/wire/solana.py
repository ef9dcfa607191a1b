"""Parsing of Solana transactions, as far as needed to recognise them. Pure.

Formats: https://solana.com/docs/core/transactions (legacy and version 0) and SIMD-0385 (version 1).
Everything that validators might accept is recognised as a transaction: sizes are not limited,
lengths need not be in their shortest form, and bytes after a transaction are ignored.
"""

from dataclasses import dataclass

VERSIONED = 0x80
"""Set in a versioned message's first byte; the other seven bits are the version."""
FIRST_OF_TEXT = 0xC0
"""First byte from which UTF-8 is possible again (RFC 3629, section 3); below 0x80 it is too.
Off-chain messages begin with 0xFF. Bytes in between begin a versioned message, or no text."""
KEY_SIZE = 32
SIGNATURE_SIZE = 64
SMALLEST = 3 + 1 + KEY_SIZE + KEY_SIZE + 1
"""Bytes of header, one account, a blockhash and no instructions."""
MAX_ACCOUNTS = 256
"""An instruction names accounts and program by one byte."""


class NoTransaction(ValueError):
    """The bytes do not begin with a Solana transaction."""


@dataclass(frozen=True)
class TransactionMessage:
    """The message that the accounts in ``signers`` sign for a transaction. ``size`` in bytes."""

    version: int | None
    signers: tuple[bytes, ...]
    size: int


def is_transaction(content: bytes) -> bool:
    """Return True if bytes begin with a transaction, or with a transaction's message.

    A message of an unknown, later version counts too: the network may accept it by then.
    """
    for read in (read_message, _read_whole):
        try:
            read(content)
        except NoTransaction:
            continue
        return True
    return _is_of_later_version(content)


def read_message(content: bytes) -> TransactionMessage:
    """Return the transaction message at the beginning of bytes. Raise NoTransaction."""
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
    """Read a transaction: number of signatures, signatures, message. Version 1 has them last."""
    reader = _Reader(content)
    reader.skip(reader.length() * SIGNATURE_SIZE)
    read_message(content[reader.at :])


def _is_of_later_version(content: bytes) -> bool:
    return len(content) >= SMALLEST and VERSIONED | 2 <= content[0] < FIRST_OF_TEXT


def _read_accounts_then_instructions(reader: "_Reader", has_lookups: bool) -> tuple[bytes, ...]:
    """Read a legacy message, or a message of version 0 after its first byte."""
    header = reader.header()
    accounts = [reader.take(KEY_SIZE) for _ in range(reader.length())]
    _require_header(header, len(accounts))
    reader.skip(KEY_SIZE)  # a recent blockhash or a nonce
    named = 0
    for _ in range(reader.length()):
        program = reader.byte()
        indices = reader.take(reader.length())
        reader.skip(reader.length())
        named = max(named, _largest(program, indices))
    looked_up = 0
    for _ in range(reader.length() if has_lookups else 0):
        reader.skip(KEY_SIZE)  # address of the lookup table
        for _ in ("writable", "readonly"):
            count = reader.length()
            reader.skip(count)
            looked_up += count
    _require_accounts(named, len(accounts) + looked_up)
    return tuple(accounts[: header[0]])


def _read_version_1(reader: "_Reader") -> tuple[bytes, ...]:
    """Read a version 1 message after its first byte (SIMD-0385): fixed sizes, then instructions."""
    header = reader.header()
    mask = int.from_bytes(reader.take(4), "little")
    reader.skip(KEY_SIZE)  # the lifetime specifier
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
    """Raise NoTransaction unless the header's counts fit the number of accounts."""
    required, readonly_signed, readonly_unsigned = header
    if not readonly_signed < required <= required + readonly_unsigned <= accounts:
        raise NoTransaction("the header does not fit the number of accounts")


def _largest(program: int, indices: bytes) -> int:
    """Return an instruction's largest index. Raise NoTransaction if its program is the payer."""
    if program == 0:
        raise NoTransaction("an instruction's program is the account that pays")
    return max(program, max(indices, default=0))


def _require_accounts(named: int, accounts: int) -> None:
    if accounts > MAX_ACCOUNTS or named >= accounts:
        raise NoTransaction("an instruction names an account that does not exist")


class _Reader:
    """Reads bytes from the front. Raises NoTransaction at the end."""

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
        """Read the counts: accounts that sign; of these, and of the others, those only read."""
        return self.byte(), self.byte(), self.byte()

    def length(self) -> int:
        """Read a compact-u16: seven bits a byte, lowest first, in up to three bytes."""
        value = 0
        for shift in (0, 7, 14):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise NoTransaction("a length of more than three bytes")

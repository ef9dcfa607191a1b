"""Limits for the work that a file may ask for before its password can be checked.

A hostile file could otherwise take all memory, or a processor for hours. Wallets stay far below.
"""

from custody.client.importing.faults import BadPrivateKey, KeyFault

MAX_WORK = 512 * 1024 * 1024
"""Of scrypt, in bytes: the memory, 128 n r, times p. Twice what go-ethereum's files need (n = 2^18,
r = 8), and some seconds."""
MAX_FACTOR = 64
"""Of scrypt, the largest r and p."""
MAX_ITERATIONS = 10_000_000
"""Of PBKDF2: some seconds."""


def check_scrypt(n: int, r: int, p: int) -> None:
    """Raise BadPrivateKey unless scrypt with these parameters (RFC 7914) is possible and cheap."""
    if r < 1 or p < 1 or n < 2 or n & (n - 1):
        raise BadPrivateKey(KeyFault.BAD_FORMAT, "scrypt: n is not a power of 2, or r or p is 0")
    if max(r, p) > MAX_FACTOR or 128 * n * r * p > MAX_WORK:
        raise BadPrivateKey(
            KeyFault.TOO_COSTLY,
            f"scrypt: n, r and p ask for too much. At most {MAX_WORK >> 20} MiB (128 n r p) are "
            f"accepted, with r and p up to {MAX_FACTOR}",
        )


def check_iterations(count: int) -> None:
    """Raise BadPrivateKey unless PBKDF2 (RFC 8018) with so many iterations is cheap."""
    if count < 1:
        raise BadPrivateKey(KeyFault.BAD_FORMAT, "PBKDF2: the number of iterations is below 1")
    if count > MAX_ITERATIONS:
        raise BadPrivateKey(
            KeyFault.TOO_COSTLY,
            f"PBKDF2: the file asks for more than {MAX_ITERATIONS} iterations",
        )

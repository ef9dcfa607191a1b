"""The comparison of a token with the tokens whose work it is to share."""

from enum import StrEnum

from custody.pkcs11.messages import Ready


class Difference(StrEnum):
    """How a token differs from the others. The text is for people."""

    KEYS = "it does not have the same master keys as the others"
    WAYS = "it does not make keys of the same algorithms in the same way as the others"
    PROOFS = "its master keys do not open what proves those of the others"


def difference(ready: Ready, expected: Ready) -> Difference | None:
    """Return the difference between a token and the expected one; None if it may do the same work.

    PROOFS: there is no other difference.
    """
    if ready.check_values != expected.check_values:
        return Difference.KEYS
    if _ways(ready) != _ways(expected):
        return Difference.WAYS
    if not opened_the_same(ready, expected):
        return Difference.PROOFS
    return None


def opened_the_same(ready: Ready, expected: Ready) -> bool:
    """Return whether a token's keys have opened every proof that the expected ones have opened.

    The check values show less: a writer of the database can give one value to two keys. But no two
    keys open one proof.
    """
    values = {name: proof.value for name, proof in ready.proofs.items()}
    return all(values.get(name) == proof.value for name, proof in expected.proofs.items())


def _ways(ready: Ready) -> set[tuple[str, str, str]]:
    return {(str(each.algorithm), each.protection, each.mechanism) for each in ready.capabilities}

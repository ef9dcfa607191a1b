"""A weakness of a master key, and the error of a start that refuses the key. Workers only."""

from collections.abc import Sequence
from dataclasses import dataclass

from custody.pkcs11.login import CannotStart
from custody.pkcs11.messages import Obstacle


@dataclass(frozen=True)
class Weakness:
    """Something that a key allows, and the strongest key that this token makes does not allow.

    ``doubt``: why this is not certain; None if the token has shown it.
    """

    what: str
    doubt: str | None = None


class TooWeak(CannotStart):
    """A key is weaker than the token can make it, or may be, and no setting accepts it."""


def verdict(weaknesses: Sequence[Weakness]) -> str:
    """Return the end of a sentence about the key: what was shown, and what is not certain and why.

    It says that the key is weaker only if a weakness was shown.
    """
    parts = [each.what for each in weaknesses if each.doubt is None]
    is_shown = bool(parts)
    for doubt in dict.fromkeys(each.doubt for each in weaknesses if each.doubt is not None):
        same = ", ".join(each.what for each in weaknesses if each.doubt == doubt)
        parts.append(f"not certain ({doubt}): {same}")
    said = "is weaker than this token can make it" if is_shown else "could not be judged"
    return f"{said}: {', '.join(parts)}"


def too_weak(name: str, value: bytes, weaknesses: Sequence[Weakness]) -> TooWeak:
    """Return the error. ``value``: one that the key has proved, by which a setting accepts it."""
    accept = f'add to weaker_check_values in the configuration: "0x{value.hex()}".'
    if all(each.doubt is not None for each in weaknesses):
        return TooWeak(
            Obstacle.MASTER_KEY,
            f"the master key {name!r} {verdict(weaknesses)}",
            "This does not show that the key is weak: do not delete the key. Start again, with a "
            "higher start_seconds if attempts had no time. If the answers stay the same, compare "
            "the check value with the one that you noted when you made the key. Only if they are "
            f"equal, {accept} The key is then used whatever it allows.",
        )
    return TooWeak(
        Obstacle.MASTER_KEY,
        f"the master key {name!r} {verdict(weaknesses)}",
        "Somebody with the PIN can have made it so, to take keys out. If you made it, with "
        f"--rewrappable, --extractable or an earlier version, {accept} If you did not, find out "
        "who did. Delete the key only if no stored key is wrapped by it. Then make a stronger one: "
        "master-key generate.",
    )

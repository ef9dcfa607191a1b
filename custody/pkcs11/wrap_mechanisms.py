"""The mechanisms that wrap keys, also those that python-pkcs11 does not know. Workers only."""

from custody.pkcs11.session_errors import name_of, raise_unless_refusal
from custody.pkcs11.token_traits import STANDARD_MECHANISMS, in_use
from pkcs11 import Mechanism, Token
from pkcs11.exceptions import PKCS11Error


def of_new_keys() -> tuple[Mechanism, ...]:
    """Return the mechanisms that are tried for new keys, in order."""
    return tuple(map(_mechanism, in_use().wrap_mechanisms or STANDARD_MECHANISMS))


def usable() -> tuple[Mechanism, ...]:
    """Return the mechanisms with which stored keys may be unwrapped."""
    names = dict.fromkeys((*STANDARD_MECHANISMS, *in_use().wrap_mechanisms))
    return tuple(map(_mechanism, names))


def of_any_key() -> tuple[Mechanism, ...]:
    """Return the mechanisms of new keys, and then those with which older keys may be wrapped."""
    return tuple(dict.fromkeys((*of_new_keys(), *usable())))


def of_stored_key(name: str) -> Mechanism | None:
    """Return the mechanism that a database names; None if keys are not wrapped with it.

    The standard mechanisms unwrap also when the configuration no longer names them. A writer of
    the database must not choose any other mechanism.
    """
    if name in STANDARD_MECHANISMS or name in in_use().wrap_mechanisms:
        return _mechanism(name)
    return None


def refusal_of(token: Token, name: str) -> str | None:
    """Return why the token does not have a mechanism; None if it has the mechanism."""
    try:
        token.slot.get_mechanism_info(_mechanism(name))
    except PKCS11Error as error:
        raise_unless_refusal(error)
        return name_of(error)
    return None


def _mechanism(name: str) -> Mechanism:
    """Return the mechanism of a name, or of a vendor's number as text.

    python-pkcs11 takes only members of its enum, and the enum has no vendor's numbers. So the
    number becomes a member of it. This is the only place that changes the enum.
    """
    if name in Mechanism.__members__:
        return Mechanism[name]
    number = int(name, 16)
    if number in Mechanism._value2member_map_:
        return Mechanism(number)
    member = int.__new__(Mechanism, number)
    member._name_ = name
    member._value_ = number
    Mechanism._member_map_[name] = member
    Mechanism._value2member_map_[number] = member
    return member

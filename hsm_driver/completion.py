"""Words that a shell completes."""

from typing import get_args


def profiles_with(start: str) -> list[str]:
    """Return the names of profiles that begin so."""
    from custody.pkcs11.profiles import profiles

    return [name for name in profiles() if name.startswith(start)]


def logins_with(start: str) -> list[str]:
    """Return the values of login that begin so."""
    from custody.pkcs11.token_traits import Login

    return [login for login in get_args(Login) if login.startswith(start)]

"""The section of a configuration file that names a token."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import AfterValidator, Field, model_validator

from custody.pkcs11.messages import DEFAULT_START_SECONDS, RestoredKey
from custody.pkcs11.settings import (
    DEFAULT_DEADLINE_SECONDS,
    DEFAULT_KEEPALIVE_SECONDS,
    HsmSettings,
    NoPin,
    PinCredential,
    PinFile,
    default_workers,
)
from custody.pkcs11.token_traits import (
    GcmIv,
    Hardening,
    Login,
    Sessions,
    TokenTraits,
    wrap_mechanism_name,
)
from custody.runtime.configuration import ConfiguredPath, Section

CheckValue = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
"""The check value of a key on a token, as `master-key list --json` prints it."""


OTHER_TOKENS = "other-tokens"
"""The folder in the state directory with the state of the other tokens."""

WrapMechanism = Annotated[str | int, AfterValidator(wrap_mechanism_name)]


class OtherTokenSection(Section):
    """Another token with the same master keys: what differs from the first one."""

    module: ConfiguredPath | None = None
    token_label: str | None = None
    token_serial: Annotated[str, Field(min_length=1, max_length=16)] | None = None
    slot: Annotated[int, Field(ge=0)] | None = None
    pin_file: ConfiguredPath | None = None
    pin_credential: str | None = None


class TokenSection(Section):
    """A token, the place of its PIN, and the keys on it that came from the HSM's backup.

    ``restored_check_values`` is a setting, because a writer of the database must not be able to
    pin a key that was imported into the token. ``restored_extractable``: these keys were generated
    with --extractable. ``weaker_check_values``: keys that may be weaker than this token can make
    them.
    """

    module: ConfiguredPath
    token_label: str
    token_serial: Annotated[str, Field(min_length=1, max_length=16)] | None = None
    slot: Annotated[int, Field(ge=0)] | None = None
    pin_file: ConfiguredPath | None = None
    pin_credential: str | None = None
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    deadline_seconds: Annotated[float, Field(gt=0)] = DEFAULT_DEADLINE_SECONDS
    start_seconds: Annotated[float, Field(gt=0)] = DEFAULT_START_SECONDS
    keepalive_seconds: Annotated[float, Field(gt=0)] = DEFAULT_KEEPALIVE_SECONDS
    wrap_mechanisms: tuple[WrapMechanism, ...] = ()
    sessions: Sessions = "read-only"
    master_key_without: tuple[Hardening, ...] = ()
    login: Login = "user"
    gcm_iv: GcmIv = "driver"
    wrap_with_trusted: bool = False
    restored_check_values: tuple[CheckValue, ...] = ()
    restored_extractable: bool = False
    weaker_check_values: tuple[CheckValue, ...] = ()

    @model_validator(mode="after")
    def _one_pin(self) -> "TokenSection":
        check_pin(self, self.login)
        return self


def check_pin(
    section: OtherTokenSection | TokenSection, login: Login, other: str | None = None
) -> None:
    """Raise ValueError unless a section gives the PIN that the login needs, in one place.

    ``other``: the token's name if the section is a table of other_tokens.
    """
    pins = [section.pin_file, section.pin_credential]
    place = "" if other is None else f"[[hsm.other_tokens]] for the token {other!r}: "
    if login == "user" and pins.count(None) != 1:
        why = "" if other is None else ": the PIN of [hsm] is not used for another token"
        raise ValueError(f"{place}give either pin_file or pin_credential{why}")
    if login != "user" and pins.count(None) != len(pins):
        raise ValueError(f'{place}login = "{login}" uses no PIN: leave pin_file out')


def token_traits(section: TokenSection) -> TokenTraits:
    """Return what the section says of this token."""
    return TokenTraits(
        slot=section.slot,
        token_serial=section.token_serial,
        wrap_mechanisms=tuple(map(str, section.wrap_mechanisms)),
        sessions=section.sessions,
        master_key_without=section.master_key_without,
        login=section.login,
        gcm_iv=section.gcm_iv,
        wrap_with_trusted=section.wrap_with_trusted,
    )


def token_settings(
    section: TokenSection, state_directory: Path, workers: int | None = None
) -> HsmSettings:
    """Return how to reach the token that the section names."""
    return HsmSettings(
        module=section.module,
        token_label=section.token_label,
        pin=_pin(section, section.login),
        state_directory=state_directory,
        deadline_seconds=section.deadline_seconds,
        start_seconds=section.start_seconds,
        keepalive_seconds=section.keepalive_seconds,
        workers=workers or section.workers or default_workers(),
        traits=token_traits(section),
        restored=tuple(
            RestoredKey(check_value=_bytes(value), extractable=section.restored_extractable)
            for value in section.restored_check_values
        ),
        weaker=tuple(map(_bytes, section.weaker_check_values)),
    )


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


def other_token_settings(first: HsmSettings, section: OtherTokenSection) -> HsmSettings:
    """Return how to reach another token. All that the section does not say is as for the first.

    The token has a state directory of its own: what is remembered of its PIN, and its logins, do
    not touch the other tokens.
    """
    traits = replace(first.traits, slot=section.slot, token_serial=section.token_serial)
    other = replace(
        first,
        module=section.module or first.module,
        token_label=section.token_label or first.token_label,
        pin=_pin(section, first.traits.login),
        traits=traits,
    )
    folder = first.state_directory / OTHER_TOKENS / quote(other.token_name, safe="")
    return replace(other, state_directory=folder)


def _pin(
    section: TokenSection | OtherTokenSection, login: Login
) -> PinFile | PinCredential | NoPin:
    if section.pin_file is not None:
        return PinFile(section.pin_file)
    if section.pin_credential is not None:
        return PinCredential(section.pin_credential)
    return NoPin(login)

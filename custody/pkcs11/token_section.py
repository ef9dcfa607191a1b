"""The section of a configuration file that names a token."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from custody.pkcs11.messages import RestoredKey
from custody.pkcs11.settings import (
    DEFAULT_DEADLINE_SECONDS,
    DEFAULT_KEEPALIVE_SECONDS,
    DEFAULT_START_SECONDS,
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


WrapMechanism = Annotated[str | int, AfterValidator(wrap_mechanism_name)]


class TokenSection(Section):
    """A token, the place of its PIN, and the keys on it that came from the HSM's backup.

    ``restored_check_values`` is a setting, because a writer of the database must not be able to
    pin a key that was imported into the token. ``restored_extractable``: these keys were generated
    with --extractable. ``weaker_check_values``: keys that allow more than this token's keys must.
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
        pins = [self.pin_file, self.pin_credential]
        if self.login == "user" and pins.count(None) != 1:
            raise ValueError("give either pin_file or pin_credential")
        if self.login != "user" and pins.count(None) != len(pins):
            raise ValueError(f'login = "{self.login}" uses no PIN: leave pin_file out')
        return self


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
    pin: PinFile | PinCredential | NoPin = NoPin(section.login)
    if section.pin_file is not None:
        pin = PinFile(section.pin_file)
    elif section.pin_credential is not None:
        pin = PinCredential(section.pin_credential)
    return HsmSettings(
        module=section.module,
        token_label=section.token_label,
        pin=pin,
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

"""The driver's configuration file."""

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from custody.node.key_age import MAX_ROTATION_DAYS
from custody.node.settings import NodeSettings
from custody.pkcs11.messages import DEFAULT_CACHED_KEYS_SECONDS
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.token_section import (
    OtherTokenSection,
    TokenSection,
    check_pin,
    other_token_settings,
    token_settings,
)
from custody.pkcs11.token_traits import token_name
from custody.runtime.tls import TlsFiles
from custody.s3.settings import S3Section
from custody.wire.algorithms import HSM_ALGORITHMS, Algorithm
from custody.wire.encoding import base64_to_bytes
from custody.wire.public_keys import check_ed25519
from custody.wire.signed_bytes import MAX_PINNED_KEYS


class HsmSection(TokenSection):
    host_signing: tuple[str, ...] = ()
    cached_keys: Annotated[int, Field(ge=0, le=1000)] = 0
    cached_keys_seconds: Annotated[float, Field(gt=0, le=3600)] = DEFAULT_CACHED_KEYS_SECONDS
    rotate_after_days: Annotated[int, Field(ge=0, le=MAX_ROTATION_DAYS)] = 730
    """Two years: NIST SP 800-57 part 1 rev. 5, table 1, for a key that wraps keys. 0: never."""

    other_tokens: Annotated[tuple[OtherTokenSection, ...], Field(max_length=15)] = ()

    @model_validator(mode="after")
    def _check_other_tokens(self) -> "HsmSection":
        tokens: tuple[TokenSection | OtherTokenSection, ...] = (self, *self.other_tokens)
        names = [
            token_name(token.token_label or self.token_label, token.token_serial, token.slot)
            for token in tokens
        ]
        for other, name in zip(self.other_tokens, names[1:], strict=True):
            check_pin(other, self.login, name)
        if len(set(names)) != len(names):
            raise ValueError(
                "other_tokens: each token needs its own token_label, token_serial or slot, because "
                "health and metrics name the token that is away"
            )
        return self

    @field_validator("host_signing")
    @classmethod
    def _are_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if Algorithm.parse(text) not in HSM_ALGORITHMS:
                raise ValueError(f"{text} is for MPC keys alone")
        return value


class KeyCopiesSection(S3Section):
    """[key_copies]: the bucket, and the other drivers whose copies this driver accepts."""

    driver_keys: Annotated[tuple[str, ...], Field(max_length=MAX_PINNED_KEYS - 1)] = ()
    """Identity public keys in base64, as `hsm-driver identity show` prints them."""

    @field_validator("driver_keys")
    @classmethod
    def _are_public_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            check_ed25519(base64_to_bytes(text))
        return value

    @property
    def drivers(self) -> list[bytes]:
        """Return the public keys of the other drivers."""
        return [base64_to_bytes(text) for text in self.driver_keys]


class DriverSettings(NodeSettings):
    program: ClassVar[str] = "hsm-driver"

    hsm: HsmSection
    key_copies: KeyCopiesSection | None = None

    @property
    def tls(self) -> list[TlsFiles]:
        copies = None if self.key_copies is None else self.key_copies.tls
        return [*super().tls, *([] if copies is None else [copies])]


def hsm_settings(settings: DriverSettings, workers: int | None = None) -> HsmSettings:
    """Return the HSM's settings; ``workers`` overrides the file's number."""
    token = token_settings(settings.hsm, settings.node.state_directory, workers)
    algorithms = frozenset(Algorithm.parse(text) for text in settings.hsm.host_signing)
    return replace(
        token,
        host_signing=algorithms,
        cached_keys=settings.hsm.cached_keys,
        cached_keys_seconds=settings.hsm.cached_keys_seconds,
    )


def other_tokens(settings: DriverSettings) -> list[HsmSettings]:
    """Return the settings of the tokens beside the first, which have the same master keys."""
    first = hsm_settings(settings)
    return [other_token_settings(first, section) for section in settings.hsm.other_tokens]

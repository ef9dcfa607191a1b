"""The driver's configuration file."""

from dataclasses import replace
from typing import ClassVar

from pydantic import field_validator

from custody.node.settings import NodeSettings
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.token_section import TokenSection, token_settings
from custody.s3.settings import S3Section
from custody.wire.algorithms import HSM_ALGORITHMS, Algorithm


class HsmSection(TokenSection):
    host_signing: tuple[str, ...] = ()

    @field_validator("host_signing")
    @classmethod
    def _are_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if Algorithm.parse(text) not in HSM_ALGORITHMS:
                raise ValueError(f"{text} is for MPC keys alone")
        return value


class DriverSettings(NodeSettings):
    program: ClassVar[str] = "hsm-driver"

    hsm: HsmSection
    key_copies: S3Section | None = None


def hsm_settings(settings: DriverSettings, workers: int | None = None) -> HsmSettings:
    """Return the HSM's settings; ``workers`` overrides the file's number."""
    token = token_settings(settings.hsm, settings.node.state_directory, workers)
    algorithms = frozenset(Algorithm.parse(text) for text in settings.hsm.host_signing)
    return replace(token, host_signing=algorithms)

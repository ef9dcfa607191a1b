"""The driver's configuration file."""

from typing import ClassVar

from pydantic import field_validator

from custody.node.settings import NodeSettings
from custody.pkcs11.token_section import TokenSection
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

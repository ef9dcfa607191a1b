"""The driver's configuration file."""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from daemon.configuration import ConfiguredPath, Section
from node.settings import NodeSettings
from wire.algorithms import HSM_ALGORITHMS, Algorithm


class TokenSection(Section):
    """Which token, and how its PIN is found."""

    module: ConfiguredPath
    token_label: str
    pin_file: ConfiguredPath | None = None
    pin_credential: str | None = None
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    deadline_seconds: Annotated[float, Field(gt=0)] = 10.0

    @model_validator(mode="after")
    def _one_pin(self) -> "TokenSection":
        if (self.pin_file is None) == (self.pin_credential is None):
            raise ValueError("give either pin_file or pin_credential")
        return self


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

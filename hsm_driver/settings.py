"""The driver's configuration file."""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from daemon.configuration import ConfiguredPath, Section
from node.settings import NodeSettings
from wire.algorithms import Algorithm


class HsmSection(Section):
    module: ConfiguredPath
    token_label: str
    pin_file: ConfiguredPath | None = None
    pin_credential: str | None = None
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    deadline_seconds: Annotated[float, Field(gt=0)] = 10.0
    host_signing: tuple[str, ...] = ()

    @field_validator("host_signing")
    @classmethod
    def _are_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            Algorithm.parse(text)
        return value

    @model_validator(mode="after")
    def _one_pin(self) -> "HsmSection":
        if (self.pin_file is None) == (self.pin_credential is None):
            raise ValueError("give either pin_file or pin_credential")
        return self


class DriverSettings(NodeSettings):
    program: ClassVar[str] = "hsm-driver"

    hsm: HsmSection

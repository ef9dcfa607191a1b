"""The driver's configuration file."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from daemon.configuration import ConfiguredPath, DatabaseSection, Section
from wire.algorithms import Algorithm
from wire.nodes import node_urn


class NodeSection(Section):
    id: str
    group: str

    @field_validator("id")
    @classmethod
    def _is_a_node_id(cls, value: str) -> str:
        node_urn(value)
        return value


class ControlPlaneSection(Section):
    url: Annotated[str, Field(pattern=r"^https://[^/]+/?$")]
    """https://host:port of the node API."""
    ca: ConfiguredPath
    certificate: ConfiguredPath
    private_key: ConfiguredPath
    job_signing_keys: Annotated[list[str], Field(min_length=1)]
    """Base64 of the 32-byte Ed25519 public keys whose jobs this node believes."""


class HsmSection(Section):
    module: ConfiguredPath
    token_label: str
    pin_file: ConfiguredPath | None = None
    pin_credential: str | None = None
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    deadline_seconds: Annotated[float, Field(gt=0)] = 10.0
    state_directory: ConfiguredPath
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


class IdentitySection(Section):
    private_key: ConfiguredPath


class HealthSection(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464


class LoopSection(Section):
    slots: Annotated[int, Field(ge=1, le=256)] = 64
    max_clock_offset_seconds: Annotated[float, Field(gt=0)] = 30.0
    journal_retention_days: Annotated[int, Field(ge=1)] = 90


class LogSection(Section):
    level: str = "info"


class DriverSettings(Section):
    node: NodeSection
    control_plane: ControlPlaneSection
    database: DatabaseSection
    hsm: HsmSection
    identity: IdentitySection
    health: HealthSection = HealthSection()
    loop: LoopSection = LoopSection()
    log: LogSection = LogSection()

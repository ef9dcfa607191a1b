"""The parts of a configuration file that every node has."""

from functools import partial
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from custody.backup.settings import BackupSection
from custody.node.identity import require_certificate_of
from custody.runtime.certificate_settings import CertificatesSection
from custody.runtime.configuration import ConfiguredPath, DatabaseSection, Section
from custody.runtime.job_signing_keys import JobSigningKeys
from custody.runtime.tls import TlsFiles
from custody.wire.nodes import node_urn


class NodeSection(Section):
    id: str
    group: str
    state_directory: ConfiguredPath
    """Folder for facts that must not depend on the database: the freeze, a refused PIN."""

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
    crl: ConfiguredPath | None = None
    job_signing_keys: JobSigningKeys
    """The keys whose signed jobs this node believes."""
    send_audit_records: bool = False
    """Whether the control plane gets the audit records, and not only the signed heads."""


class IdentitySection(Section):
    private_key: ConfiguredPath


class HealthSection(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464


class LoopSection(Section):
    slots: Annotated[int, Field(ge=1, le=256)] = 64
    max_clock_offset_seconds: Annotated[float, Field(gt=0)] = 30.0

    @model_validator(mode="before")
    @classmethod
    def _retention_is_in_the_database(cls, section: Any) -> Any:
        days = section.get("journal_retention_days") if isinstance(section, dict) else None
        if days is not None:
            raise ValueError(
                "journal_retention_days is a setting of the group's database now. Remove it here; "
                f"before the first start run: migrate, then: retention set {days} --reason ..."
            )
        return section


class RequestsSection(Section):
    require_signature: bool = False


class GateSection(Section):
    url: Annotated[str, Field(pattern=r"^https://[^/@]+(/[^?#]*)?$")]
    ca: ConfiguredPath
    certificate: ConfiguredPath | None = None
    private_key: ConfiguredPath | None = None
    crl: ConfiguredPath | None = None
    hmac_key_file: ConfiguredPath
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    allow_bare_hashes: bool = True
    at_once: Annotated[int, Field(ge=1, le=4096)] = 256

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles("gate", self.certificate, self.private_key, self.ca, self.crl)


class LogSection(Section):
    level: str = "info"


class NodeSettings(Section):
    """Base of every node's settings; each mode adds its own sections."""

    program: ClassVar[str]
    """hsm-driver or mpc-signer: the command that an operator types."""

    node: NodeSection
    control_plane: ControlPlaneSection
    database: DatabaseSection
    identity: IdentitySection
    health: HealthSection = HealthSection()
    loop: LoopSection = LoopSection()
    requests: RequestsSection = RequestsSection()
    gate: GateSection | None = None
    backup: BackupSection | None = None
    log: LogSection = LogSection()
    certificates: CertificatesSection = CertificatesSection()

    @property
    def control_plane_tls(self) -> TlsFiles:
        section = self.control_plane
        return TlsFiles(
            "control_plane",
            section.certificate,
            section.private_key,
            section.ca,
            section.crl,
            check=partial(require_certificate_of, self.node.id),
        )

    @property
    def tls(self) -> list[TlsFiles]:
        """Return the files of each use of TLS."""
        return [self.control_plane_tls, *([] if self.gate is None else [self.gate.tls])]

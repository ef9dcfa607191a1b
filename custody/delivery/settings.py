"""The delivery server's configuration file."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from custody.runtime.certificate_settings import CertificatesSection
from custody.runtime.configuration import ConfiguredPath, Section, read_settings
from custody.runtime.job_signing_keys import JobSigningKeys
from custody.runtime.tls import TlsFiles
from custody.wire.clocks import TICKET_LIFE, allowed_offset

Count = Annotated[int, Field(ge=1)]
KIB, MIB = 1024, 1024 * 1024
ALLOWED_OFFSET = allowed_offset(TICKET_LIFE).total_seconds()


class ServerSection(Section):
    name: Annotated[str, Field(min_length=1)]
    """The name of this server in tickets."""
    host: str = "0.0.0.0"  # noqa: S104  # signers come from other hosts
    port: Annotated[int, Field(ge=0, le=65535)] = 8445
    certificate: ConfiguredPath
    private_key: ConfiguredPath
    client_ca: ConfiguredPath
    crl: ConfiguredPath | None = None

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles(
            "server", self.certificate, self.private_key, self.client_ca, self.crl, is_server=True
        )


class TicketsSection(Section):
    job_signing_keys: JobSigningKeys
    """The keys whose signed tickets this server accepts."""


class LimitsSection(Section):
    """Limits. ``..._bytes`` count messages that the server holds or is receiving."""

    message_bytes: Count = 512 * KIB
    session_bytes: Count = 32 * MIB
    signer_bytes: Count = 64 * MIB
    total_bytes: Count = 256 * MIB
    signer_sessions: Count = 4096
    total_sessions: Count = 16384
    signer_connections: Count = 128
    total_connections: Count = 1024
    address_connections: Count = 512
    """Room for four signers behind one address, each with its ``signer_connections``."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    head_seconds: Annotated[float, Field(gt=0)] = 10.0
    hello_seconds: Annotated[float, Field(gt=0)] = 5.0
    idle_seconds: Annotated[float, Field(gt=0)] = 30.0
    body_seconds: Annotated[float, Field(gt=0)] = 15.0
    max_clock_offset_seconds: Annotated[float, Field(gt=0)] = ALLOWED_OFFSET
    """Allowed offset from the signers' clocks: a third of the life of a ticket to sign."""

    @model_validator(mode="after")
    def _smaller_ones_fit(self) -> "LimitsSection":
        smallest = min(self.session_bytes, self.signer_bytes)
        if not self.message_bytes <= smallest <= self.total_bytes:
            raise ValueError(
                "message_bytes must not exceed session_bytes or signer_bytes, and the smaller of "
                "these two must not exceed total_bytes"
            )
        return self


class HealthSection(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9466


class LogSection(Section):
    level: str = "info"


class Settings(Section):
    server: ServerSection
    tickets: TicketsSection
    limits: LimitsSection = LimitsSection()
    health: HealthSection = HealthSection()
    log: LogSection = LogSection()
    certificates: CertificatesSection = CertificatesSection()


def load_settings(path: Path) -> Settings:
    """Read and check the configuration. Raise ConfigurationError."""
    return read_settings(path, Settings)

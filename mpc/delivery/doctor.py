"""`mpc-delivery doctor`: each thing is tried, and nothing changed."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from daemon.errors import OperatorError
from daemon.tls import load_certificates, server_context
from mpc.delivery.settings import Settings

EXPIRES_SOON = timedelta(days=14)


@dataclass(frozen=True)
class Finding:
    """One line: ``status`` is ok, warn or fail; ``todo`` says what to do about it."""

    name: str
    status: str
    detail: str
    todo: str | None = None


def findings(settings: Settings) -> Iterator[Finding]:
    for name, look in (
        ("certificate", _certificate),
        ("job-signing keys", _job_keys),
        ("port", _port),
    ):
        try:
            yield look(settings)
        except OperatorError as error:
            yield Finding(name, "fail", error.what, error.todo)


def _certificate(settings: Settings) -> Finding:
    section = settings.server
    server_context(section.certificate, section.private_key, section.client_ca)
    left = load_certificates(section.certificate)[0].not_valid_after_utc - datetime.now(UTC)
    if left < EXPIRES_SOON:
        return Finding(
            "certificate",
            "warn",
            f"{section.certificate} has {left.days} days left",
            f"pki issue server {section.name}, in a new folder, and name that one.",
        )
    return Finding("certificate", "ok", f"{section.certificate}, {left.days} days left")


def _job_keys(settings: Settings) -> Finding:
    settings.tickets.pinned()
    return Finding("job-signing keys", "ok", f"{len(settings.tickets.job_signing_keys)} pinned")


def _port(settings: Settings) -> Finding:
    host, port = settings.server.host, settings.server.port
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return Finding(
            "port",
            "warn",
            f"{host}:{port}: {error.strerror}",
            "Well if this server runs already; else free the port, or name another.",
        )
    return Finding("port", "ok", f"{host}:{port} is free")

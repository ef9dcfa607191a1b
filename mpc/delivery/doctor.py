"""`mpc-delivery doctor`: each thing is tried, and nothing changed."""

import socket
from collections.abc import Iterator

from daemon.checks import Check, Status, expiry_check, failed
from daemon.errors import OperatorError
from daemon.job_signing_keys import pinned_job_keys
from daemon.tls import server_context
from mpc.delivery.settings import Settings


def checks(settings: Settings) -> Iterator[Check]:
    """Each check as soon as it is made. None of them changes anything."""
    for name, make in (
        ("certificate", _certificate),
        ("job-signing keys", _job_keys),
        ("port", _port),
    ):
        try:
            yield make(settings)
        except OperatorError as error:
            yield failed(name, error)


def _certificate(settings: Settings) -> Check:
    section = settings.server
    server_context(section.certificate, section.private_key, section.client_ca)
    todo = f"pki issue server {section.name}, in a new folder, and name that."
    return expiry_check(section.certificate, section.name, todo)


def _job_keys(settings: Settings) -> Check:
    keys = settings.tickets.job_signing_keys
    pinned_job_keys(keys, "tickets")
    return Check("job-signing keys", Status.OK, f"{len(keys)} pinned")


def _port(settings: Settings) -> Check:
    host, port = settings.server.host, settings.server.port
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return Check(
            "port",
            Status.WARN,
            f"{host}:{port}: {error.strerror}",
            "Well if this server runs already; else free the port, or name another.",
        )
    return Check("port", Status.OK, f"{host}:{port} is free")

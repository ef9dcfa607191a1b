"""The checks of `mpc-delivery doctor`. They try everything and change nothing."""

import socket
from collections.abc import Iterator

import httpx

from custody.delivery.settings import Settings
from custody.runtime.checks import HOW_TO_RENEW, Check, Status, certificate_checks, failed
from custody.runtime.errors import OperatorError
from custody.runtime.job_signing_keys import pinned_job_keys

HEALTH_SECONDS = 2.0


def checks(settings: Settings) -> Iterator[Check]:
    """Yield each check as soon as it is made. No check changes anything."""
    todo = f"Renew it, and copy the new files over the old ones: {HOW_TO_RENEW}"
    yield from certificate_checks([settings.server.tls], settings.certificates, todo)
    for name, make in (
        ("job-signing keys", _job_keys),
        ("port", _port),
        ("clock", _clock),
    ):
        try:
            yield make(settings)
        except OperatorError as error:
            yield failed(name, error)


def _job_keys(settings: Settings) -> Check:
    keys = settings.tickets.job_signing_keys
    pinned = pinned_job_keys(keys, "tickets")
    return Check("job-signing keys", Status.OK, f"{len(keys)} pinned: {', '.join(pinned.ids)}")


def _clock(settings: Settings) -> Check:
    """Ask the server that runs on this host: signers send it their time."""
    section = settings.health
    url = f"http://{section.host}:{section.port}/readyz"
    try:
        problem = httpx.get(url, timeout=HEALTH_SECONDS).json()["problems"].get("clock")
    except (httpx.HTTPError, ValueError, KeyError):
        return Check(
            "clock",
            Status.WARN,
            f"not compared: no server answers at {url}",
            "Start the server: signers send it their time. Or run on a signer: mpc-signer doctor.",
        )
    if problem is not None:
        return Check("clock", Status.FAIL, problem, "Set this host's clock by NTP.")
    return Check("clock", Status.OK, "agrees with the clocks of recent signers")


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
            "Ignore this if the server runs already. Otherwise free the port, or name another.",
        )
    return Check("port", Status.OK, f"{host}:{port} is free")

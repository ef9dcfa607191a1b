"""runtime.tls with real files: what cannot be used is refused with the reason and the remedy."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest

from custody.pki import certificates
from custody.runtime.errors import OperatorError
from custody.runtime.tls import client_context, server_context
from tests.integration.pki.conftest import Pki


@pytest.fixture
def server(pki: Pki, authorities: Path) -> Path:
    pki("issue", "server", "api", "--ip", "127.0.0.1")
    return authorities / "servers/api"


@pytest.fixture
def node(pki: Pki, authorities: Path) -> Path:
    pki("issue", "node", "driver-1")
    return authorities / "nodes/driver-1"


def serve(home: Path) -> None:
    server_context(home / "certificate.pem", home / "private_key.pem", home / "ca.pem")


def connect(home: Path) -> None:
    client_context(home / "ca.pem", home / "certificate.pem", home / "private_key.pem")


def test_what_pki_makes_can_be_used(server: Path, node: Path):
    serve(server)
    connect(node)
    client_context(node / "ca.pem")


@pytest.mark.parametrize("name", ["ca.pem", "certificate.pem", "private_key.pem"])
def test_a_missing_file_is_named(server: Path, node: Path, name: str):
    for home, use in ((server, serve), (node, connect)):
        (home / name).unlink()
        with pytest.raises(OperatorError, match=f"{home / name}: No such file") as caught:
            use(home)
        assert caught.value.todo


@pytest.mark.parametrize("name", ["ca.pem", "certificate.pem", "private_key.pem"])
def test_a_file_of_something_else_is_named(server: Path, name: str):
    (server / name).write_text("hello")
    with pytest.raises(OperatorError, match=f"{name} contains no PEM"):
        serve(server)


def test_a_key_that_others_may_read_is_refused(server: Path):
    (server / "private_key.pem").chmod(0o644)
    with pytest.raises(OperatorError, match="may be read by other users"):
        serve(server)


def test_a_key_of_another_certificate_is_refused(server: Path, node: Path):
    (server / "private_key.pem").write_bytes((node / "private_key.pem").read_bytes())
    with pytest.raises(OperatorError, match="does not belong to the certificate"):
        serve(server)


def test_a_certificate_for_the_other_side_is_refused(server: Path, node: Path):
    with pytest.raises(OperatorError, match="not a certificate for a server"):
        serve(node)
    with pytest.raises(OperatorError, match="not a certificate for a node"):
        connect(server)


def test_an_expired_certificate_is_refused(pki: Pki, authorities: Path):
    past = datetime.now(UTC) - timedelta(seconds=1)
    with patch.object(certificates, "_until", lambda *_: past):
        pki("issue", "node", "driver-1")
    with pytest.raises(OperatorError, match=r"CN=driver-1 in .* expired at"):
        connect(authorities / "nodes/driver-1")


def test_a_certificate_of_tomorrow_points_to_the_clock(pki: Pki, authorities: Path):
    with patch.object(certificates, "BACKDATED", timedelta(days=-1)):
        pki("issue", "node", "driver-1")
    with pytest.raises(OperatorError, match="valid only from") as caught:
        connect(authorities / "nodes/driver-1")
    assert "clock" in caught.value.todo


def test_half_an_identity_is_refused(node: Path):
    with pytest.raises(OperatorError, match="needs its private key"):
        client_context(node / "ca.pem", node / "certificate.pem")

"""A driver that must not work, says why it does not, and what to do."""

import base64
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from custody.pki.certificates import new_private_key
from custody.pki.directory import Directory
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import ECDSA_SECP256K1
from custody.wire.node_api import HealthStatus
from custody.wire.outcomes import Outcome, OutcomeStatus
from devstack.certificates import Certificates, Leaf
from devstack.driver import DriverOptions
from devstack.node import Surroundings
from devstack.processes import LOCALHOST
from devstack.token import Token
from tests.commands import run_command
from tests.faults.conftest import LonelyDriver, lonely_driver
from tests.faults.hostile_control_plane import HostileControlPlane, generate_job
from tests.waiting import wait_until


@pytest.fixture
def other_certificates(tmp_path: Path) -> Certificates:
    """A PKI with another root."""
    return Certificates(tmp_path / "other-pki")


@pytest.fixture
def stranger(
    tmp_path: Path, plane: HostileControlPlane, driver_database: str, token, node_leaf: Leaf
) -> Iterator[LonelyDriver]:
    """A driver that was not started, for a test to spoil."""
    with lonely_driver(tmp_path, plane, driver_database, token, node_leaf) as lonely:
        yield lonely


def with_leaf(lonely: LonelyDriver, leaf: Leaf, url: str | None = None) -> None:
    key = base64.b64encode(lonely.plane.signer.public_key).decode()
    surroundings = Surroundings(url or lonely.plane.url, key, lonely.database_url)
    lonely.driver.configure(surroundings, leaf, DriverOptions(workers=1))


def assert_does_not_start(lonely: LonelyDriver, *words: str) -> None:
    """It ends by itself, with status 1, the words and what to do next, and no traceback."""
    with pytest.raises(OperatorError, match="ended with status 1"):
        lonely.driver.start()
    said = lonely.log_text()
    for word in words:
        assert word in said
    assert "  -> " in said
    assert "Traceback" not in said


def assert_starts_but_says(lonely: LonelyDriver, *words: str, seconds: float = 20) -> None:
    """It runs and tries again and again, is not ready, and its log has the words."""
    lonely.driver.start(wait=False)
    deadline = time.monotonic() + seconds
    while not all(word in lonely.log_text() for word in words):
        lonely.driver.process.check()
        assert time.monotonic() < deadline, lonely.log_text()
        time.sleep(0.05)
    assert not lonely.driver.is_ready()
    assert "Traceback" not in lonely.log_text()


# Another master key


def test_it_does_not_start_on_a_token_with_another_master_key(
    stranger: LonelyDriver, make_token: Callable, tmp_path: Path, node_leaf: Leaf
):
    stranger.driver.start()
    job = generate_job(ECDSA_SECP256K1)
    outcome = stranger.plane.ask(stranger.plane.sign(job), job.id)
    assert outcome.status is OutcomeStatus.DONE
    stranger.driver.stop()

    folder = tmp_path / "elsewhere"
    with lonely_driver(
        folder, stranger.plane, stranger.database_url, make_token(), node_leaf
    ) as elsewhere:
        assert_does_not_start(elsewhere, "master key", "Point [hsm] at the right token")

    stranger.driver.start()


def test_a_master_key_that_nobody_adopted_wraps_nothing(
    tmp_path: Path,
    plane: HostileControlPlane,
    driver_database: str,
    make_token: Callable,
    node_leaf: Leaf,
):
    """Otherwise a holder of the PIN could add a key that he knows, to have new keys under it."""
    with lonely_driver(tmp_path, plane, driver_database, make_token(), node_leaf) as lonely:
        lonely.driver.start()
        assert master_key_of_a_new_key(lonely) == "custody/1"
        lonely.driver.generate_master_key()
        assert master_key_of_a_new_key(lonely) == "custody/1"
        lonely.driver.stop()

        lonely.driver.start()
        said = [line for line in lonely.log_text().splitlines() if "foreign key" in line]
        for name in ('"custody/2"', '"custody-host/2"'):
            assert any(name in line for line in said)
        assert master_key_of_a_new_key(lonely) == "custody/1"
        lonely.driver.stop()
        names = ("custody/2", "custody-host/2", "--yes")
        assert "adopted custody-host/2, custody/2" in hsm_driver(
            lonely, "master-key", "adopt", *names
        )
        assert "there is no new master key" in hsm_driver(lonely, "master-key", "adopt")

        lonely.driver.start()
        assert master_key_of_a_new_key(lonely) == "custody/2"
        with lonely.database() as database:
            rows = database.execute("SELECT id FROM master_keys ORDER BY id").fetchall()
        assert [name for (name,) in rows] == [
            "custody-host/1", "custody-host/2", "custody/1", "custody/2"
        ]  # fmt: skip


def test_an_emptied_table_of_master_keys_is_not_a_first_start(stranger: LonelyDriver):
    """Somebody who writes to the database could have it learn a key that he put on the token."""
    stranger.driver.start()
    assert master_key_of_a_new_key(stranger) == "custody/1"
    stranger.driver.stop()
    for tables, words in (
        (["master_keys", "key_proofs"], "it has wrapped keys"),
        (["wrapped_keys"], "its audit chain has adoptions"),
        (["audit"], "master-keys-learned says so"),
    ):
        with stranger.database() as database:
            for table in tables:
                database.execute(f"DELETE FROM {table}")
        assert_does_not_start(stranger, "knows no master key", words)


def master_key_of_a_new_key(lonely: LonelyDriver) -> str:
    job = generate_job(ECDSA_SECP256K1)
    assert lonely.plane.ask(lonely.plane.sign(job), job.id).status is OutcomeStatus.DONE
    with lonely.database() as database:
        rows = database.execute("SELECT master_key FROM wrapped_keys WHERE key_id = %s", [job.id])
        ((name,),) = rows.fetchall()
    return str(name)


def hsm_driver(lonely: LonelyDriver, *arguments: str) -> str:
    driver = lonely.driver
    done = run_command(driver.command(*arguments), driver.program().environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Client certificates


def test_without_its_certificate_it_does_not_start(stranger, node_leaf):
    nothing = Leaf(Path("/nowhere/certificate.pem"), node_leaf.private_key, node_leaf.ca)
    with_leaf(stranger, nothing)
    assert_does_not_start(stranger, "cannot read the certificate /nowhere/certificate.pem")


def test_without_the_certificates_private_key_it_does_not_start(stranger, node_leaf):
    nothing = Leaf(node_leaf.certificate, Path("/nowhere/private_key.pem"), node_leaf.ca)
    with_leaf(stranger, nothing)
    assert_does_not_start(stranger, "/nowhere/private_key.pem")


def test_with_an_expired_certificate_it_does_not_start(stranger, certificates, node_leaf):
    with_leaf(stranger, expired_leaf(stranger.driver.folder, certificates, node_leaf))
    assert_does_not_start(stranger, "expired at")


def test_with_another_nodes_certificate_it_does_not_start(stranger, certificates):
    with_leaf(stranger, certificates.node("node-9"))
    assert_does_not_start(stranger, "is of node 'node-9', the configuration says 'node-1'")


def test_with_a_servers_certificate_it_does_not_start(stranger, server_leaf):
    with_leaf(stranger, server_leaf)
    assert_does_not_start(stranger, "names no node")


def test_a_certificate_from_another_ca_is_said_to_be_refused(
    stranger, other_certificates, certificates
):
    foreign = other_certificates.node("node-1")
    before = len(stranger.plane.heartbeats)
    with_leaf(stranger, Leaf(foreign.certificate, foreign.private_key, certificates.ca))
    assert_starts_but_says(stranger, "does not accept this node's certificate")
    assert len(stranger.plane.heartbeats) == before


def test_a_control_plane_under_another_ca_is_not_believed(
    stranger, other_certificates, certificates, node_leaf
):
    impostor_leaf = other_certificates.server("impostor")
    with HostileControlPlane(impostor_leaf, certificates.ca) as impostor:
        with_leaf(stranger, node_leaf, impostor.url)
        assert_starts_but_says(stranger, "certificate verify failed")
        assert impostor.heartbeats == []


def test_a_control_plane_under_another_name_is_not_believed(stranger, node_leaf):
    with_leaf(stranger, node_leaf, stranger.plane.url.replace("127.0.0.1", "127.0.0.2"))
    assert_starts_but_says(stranger, "cannot reach")


def expired_leaf(folder: Path, certificates: Certificates, like: Leaf) -> Leaf:
    """The node's certificate, issued again with a period that is over."""
    issuer = Directory(certificates.folder).intermediate()
    template, *chain = x509.load_pem_x509_certificates(like.certificate.read_bytes())
    key = new_private_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=2))
        .not_valid_after(datetime.now(UTC) - timedelta(seconds=1))
    )
    for extension in template.extensions:
        if not isinstance(extension.value, x509.SubjectKeyIdentifier):
            builder = builder.add_extension(extension.value, extension.critical)
    leaf = builder.sign(issuer.private_key, SHA256())
    made = Leaf(folder / "expired.pem", folder / "expired-key.pem", like.ca)
    made.certificate.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in (leaf, *chain)))
    made.private_key.touch(mode=0o600)
    made.private_key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return made


# Clocks


def test_with_clocks_that_disagree_nothing_is_done(
    tmp_path, server_leaf, certificates, driver_database, token, node_leaf
):
    job = generate_job(ECDSA_SECP256K1)
    with HostileControlPlane(server_leaf, certificates.ca) as plane:
        plane.clock_offset = timedelta(minutes=5)
        with lonely_driver(tmp_path, plane, driver_database, token, node_leaf) as lonely:
            lonely.driver.start(wait=False)
            while (told := plane.wait_for_heartbeat().health).works:
                assert told.status == HealthStatus.OK  # the first one: no clocks were compared
            given = plane.give(plane.sign(job), job.id)
            assert not lonely.driver.is_ready()
            time.sleep(1)  # an outcome, which must not come, shows by nothing else
            assert given.outcomes == []
            plane.clock_offset = timedelta(0)
            assert Outcome.model_validate_json(given.first()).status is OutcomeStatus.DONE


def test_a_driver_says_that_its_master_key_is_due_and_that_it_sends_audit_records(
    tmp_path: Path,
    plane: HostileControlPlane,
    driver_database: str,
    token: Token,
    node_leaf: Leaf,
):
    with psycopg.connect(driver_database) as connection:
        connection.execute(
            "ALTER TABLE master_keys ALTER first_seen SET DEFAULT now() - interval '740 days'"
        )
    with lonely_driver(tmp_path, plane, driver_database, token, node_leaf) as lonely:
        text = lonely.driver.config.read_text()
        assert "send_audit_records = false" in text
        sends = text.replace("send_audit_records = false", "send_audit_records = true")
        lonely.driver.config.write_text(sends)
        lonely.driver.start(wait=False)
        heartbeat = plane.wait_for_heartbeat()
        assert heartbeat.sends_audit_records
        url = f"http://{LOCALHOST}:{lonely.driver.health_port}"
        answer, metrics = httpx.get(f"{url}/readyz"), httpx.get(f"{url}/metrics")
    [warning] = [each for each in answer.json()["warnings"] if "rotate_after_days" in each]
    assert warning in heartbeat.health.warnings
    assert "master key custody/1 was first used on" in warning
    assert 'custody_key_rotation_days_left{key="custody/1"} -10.0' in metrics.text


def test_a_driver_that_can_make_no_key_says_so(
    tmp_path: Path,
    plane: HostileControlPlane,
    driver_database: str,
    token: Token,
    node_leaf: Leaf,
):
    """The master key does not allow the mechanism of the configuration: stored keys still sign."""
    options = DriverOptions(workers=1, host_signing=())
    with lonely_driver(tmp_path, plane, driver_database, token, node_leaf, options) as lonely:
        config = lonely.driver.config
        named = '[hsm]\nwrap_mechanisms = ["AES_KEY_WRAP"]'
        config.write_text(config.read_text().replace("[hsm]", named, 1))
        lonely.driver.start(wait=False)
        assert not plane.wait_for_heartbeat().sends_audit_records
        wait_until(lonely.driver.is_ready)
        answer = httpx.get(f"http://{LOCALHOST}:{lonely.driver.health_port}/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert "makes no key of any algorithm" in answer.json()["problems"]["new keys"]

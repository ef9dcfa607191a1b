"""Recipients and private keys of backups."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import pyrage
import pytest

from custody.backup.age import Identity, decrypt, encrypt, parse_recipients, read_identities
from custody.backup.errors import CannotDecrypt, Damaged
from custody.runtime.configuration import write_secret
from custody.runtime.errors import ConfigurationError, OperatorError

SMALL_ORDER = b"\x01" + bytes(31)


def ssh_text(key: bytes) -> str:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + key
    return "ssh-ed25519 " + base64.b64encode(blob).decode()


def test_a_list_without_recipients_is_refused():
    with pytest.raises(ConfigurationError, match="nobody could open"):
        parse_recipients([])


@pytest.mark.parametrize(
    "text",
    [
        "age1invalid",
        "AGE-SECRET-KEY-1QQ",
        "ssh-rsa AAAAB3NzaC1yc2E=",
        "ssh-ed25519 ***",
        ssh_text(SMALL_ORDER),
        ssh_text(b"\xff" * 32),
    ],
)
def test_a_key_that_everybody_or_nobody_could_open_is_refused(text: str):
    with pytest.raises(ConfigurationError, match="not a public key of age"):
        parse_recipients([text])


def passed_through(recipient: str, identity: Path, passphrase: str = "") -> bytes:
    stored, plain = io.BytesIO(), io.BytesIO()
    encrypt(io.BytesIO(b"secret" * 50_000), stored, parse_recipients([recipient]))
    identities = read_identities([identity], lambda _: passphrase)
    decrypt(io.BytesIO(stored.getvalue()), plain, identities, "part")
    return plain.getvalue()


def ssh_key(folder: Path, passphrase: str) -> tuple[str, Path]:
    """Return the public key's text and the private key's file, as ssh-keygen makes them."""
    key = folder / "id"
    command: list[str | Path] = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", key]
    subprocess.run(command, check=True)
    return (folder / "id.pub").read_text(), key


def test_an_ssh_key_opens_what_is_encrypted_to_it(tmp_path: Path):
    assert passed_through(*ssh_key(tmp_path, "")) == b"secret" * 50_000


def test_an_ssh_key_with_a_passphrase_opens_what_is_encrypted_to_it(tmp_path: Path):
    public_key, private_key = ssh_key(tmp_path, "a passphrase")
    assert passed_through(public_key, private_key, "a passphrase") == b"secret" * 50_000
    with pytest.raises(CannotDecrypt, match="the passphrase"):
        passed_through(public_key, private_key, "another phrase")


def test_an_age_key_with_a_passphrase_opens_what_is_encrypted_to_it(tmp_path: Path):
    key = pyrage.x25519.Identity.generate()
    write_secret(tmp_path / "key", pyrage.passphrase.encrypt(f"{key}\n".encode(), "word"))
    assert passed_through(str(key.to_public()), tmp_path / "key", "word") == b"secret" * 50_000
    with pytest.raises(CannotDecrypt, match="the passphrase"):
        passed_through(str(key.to_public()), tmp_path / "key", "another word")


def test_a_file_without_a_private_key_is_refused(tmp_path: Path):
    write_secret(tmp_path / "key", b"# a comment\n")
    with pytest.raises(ConfigurationError, match="no private key"):
        read_identities([tmp_path / "key"], lambda _: "")


def given(key: pyrage.x25519.Identity) -> Identity:
    return Identity(key, Path("key"), str(key.to_public()))


def test_a_stranger_and_damage_are_told_apart():
    mine, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    stored = pyrage.encrypt(b"x" * 100_000, [mine.to_public()])
    with pytest.raises(CannotDecrypt):
        decrypt(io.BytesIO(stored), io.BytesIO(), [given(other)], "part")
    with pytest.raises(Damaged):
        decrypt(io.BytesIO(stored[:-1]), io.BytesIO(), [given(mine)], "part")


def test_the_error_names_the_given_keys_and_the_right_ones(tmp_path: Path):
    mine, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    write_secret(tmp_path / "key", f"{other}\n".encode())
    public_key, private_key = ssh_key(tmp_path, "")
    right = str(mine.to_public())
    stored = io.BytesIO(pyrage.encrypt(b"x", [mine.to_public()]))
    identities = read_identities([tmp_path / "key", private_key], lambda _: "")
    with pytest.raises(CannotDecrypt) as raised:
        decrypt(stored, io.BytesIO(), identities, "part", [right] * 10)
    assert f"{tmp_path}/key ({other.to_public()})" in raised.value.what
    assert f"{private_key} ({' '.join(public_key.split()[:2])})" in raised.value.what
    assert raised.value.todo.count(right) == 8
    assert "and 2 more" in raised.value.todo


def test_an_ssh_key_that_cannot_be_a_recipient_is_refused(tmp_path: Path):
    command = ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(tmp_path / "id")]
    subprocess.run(command, check=True)
    with pytest.raises(ConfigurationError, match="another type than Ed25519"):
        read_identities([tmp_path / "id"], lambda _: "")


class Failing:
    def read(self, size: int) -> bytes:
        raise OperatorError("pg_dump failed", "look")

    def write(self, data: bytes) -> int:
        raise OSError(28, "No space left on device", "/backups/part")


def test_the_error_of_a_stream_is_raised_as_it_was():
    recipient = [pyrage.x25519.Identity.generate().to_public()]
    with pytest.raises(OperatorError, match="pg_dump failed"):
        encrypt(Failing(), io.BytesIO(), recipient)
    with pytest.raises(OSError, match="No space left") as raised:
        encrypt(io.BytesIO(b"x"), Failing(), recipient)
    assert raised.value.filename == "/backups/part"


def test_without_a_terminal_the_passphrase_is_not_waited_for(tmp_path: Path):
    """As in a timer. `verify` must not end with the code of a backup that is not good."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(tmp_path / "id")]
    subprocess.run(command, check=True)
    program = (
        "import sys; from pathlib import Path; from custody.backup.age import read_identities;"
        "from custody.backup.errors import backup_errors;"
        "from custody.runtime.private_keys import ask_passphrase\n"
        "with backup_errors(2): read_identities([Path(sys.argv[1])], ask_passphrase)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "id"],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no passphrase was given" in done.stderr
    assert "credentials" in done.stderr

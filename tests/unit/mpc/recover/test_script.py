"""The script of docs/reference/layer4.md, exactly as the page has it, with the stock age tool."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from devstack.recovery_kit import script_of
from mpc import _native as native
from mpc.recover.contents import contents_of
from mpc.recover.found_files import find_files
from mpc.recover.opening import private_key_of, unlock
from mpc.recover.share_file import FileState, read_share_file
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import ED25519, key
from tests.unit.mpc.recover.bucket import CUSTOMER, write_copies
from tests.unit.mpc.recover.test_recover import public_key_of

CHECKOUT = Path(__file__).parents[4]
PAGE = CHECKOUT / "docs" / "reference" / "layer4.md"
VECTORS = CHECKOUT / "tests" / "vectors" / "layer4"
MAX_LINES = 40


def script() -> str:
    return script_of(PAGE.read_text())


def run(folder: Path, *files: Path, customer_key: Path) -> subprocess.CompletedProcess[str]:
    """Run it without site-packages, so that it has the standard library alone."""
    path = folder / "recover.py"
    path.write_text(script())
    words = [sys.executable, "-I", "-S", str(path), str(customer_key), *map(str, files)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_it_has_at_most_forty_lines():
    assert len(script().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
@pytest.mark.parametrize("quorum", [(1, 2), (3, 1)])
def test_it_recovers_the_keys_of_the_vectors(protocol, quorum, tmp_path):
    files = [VECTORS / f"{protocol}-{index}.age" for index in quorum]
    done = run(tmp_path, *files, customer_key=VECTORS / "customer-key")
    expected = json.loads((VECTORS / "expected.json").read_text())[protocol]
    assert done.stdout == expected["private_key"] + "\n", done.stderr
    assert f"| `{expected['public_key']}` | `{expected['private_key']}` |" in PAGE.read_text()


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_it_recovers_a_fresh_key(protocol, folder, customer_key, tmp_path):
    paths = write_copies(folder, key(protocol))
    done = run(tmp_path, paths[2], paths[3], customer_key=customer_key)
    assert done.returncode == 0, done.stderr
    assert public_key_of(protocol, int(done.stdout, 16)) == key(protocol)[1].public_key


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_it_prints_no_key_that_is_wrong(protocol, folder, customer_key, tmp_path):
    before = write_copies(folder, key(protocol))
    after = write_copies(folder, parties.refresh(key(protocol)), generation=1)
    for files in ([before[1]], [before[1], before[1]], [before[1], after[2]]):
        done = run(tmp_path, *files, customer_key=customer_key)
        assert done.returncode == 1
        assert done.stdout == ""
        assert "of one ceremony" in done.stderr


def test_it_compares_the_private_key_with_the_public_key(folder, customer_key, tmp_path):
    paths = write_copies(folder, key(ED25519))
    (tmp_path / "recover.py").write_text(script())
    wrong = script().replace('int(copy["secret_share"], 16)', 'int(copy["secret_share"], 16) + 1')
    (tmp_path / "wrong.py").write_text(wrong)
    words = [sys.executable, "-I", "-S", str(tmp_path / "wrong.py"), str(customer_key)]
    done = subprocess.run(
        [*words, str(paths[1]), str(paths[2])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "do not give the private key" in done.stderr


def test_age_takes_a_pkcs8_key_as_well(folder, tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(CUSTOMER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    paths = write_copies(folder, key(ED25519))
    done = run(tmp_path, paths[1], paths[2], customer_key=path)
    assert public_key_of(ED25519, int(done.stdout, 16)) == key(ED25519)[1].public_key


def test_mpc_recover_reads_the_vectors():
    """Old files must stay readable: these were made when the format was new."""
    customer_key = unlock(VECTORS / "customer-key")
    contents = contents_of(
        read_share_file(path, VECTORS, customer_key) for path in find_files(VECTORS)
    )
    expected = json.loads((VECTORS / "expected.json").read_text()).values()
    assert len(contents.files_that_are(FileState.GOOD)) == 9
    found = {private_key_of(root, customer_key).big_endian.hex() for root in contents.keys}
    assert found == {each["private_key"] for each in expected}

"""The customer's drill, and its report."""

import hashlib
import json
from datetime import UTC, datetime

import pytest

from mpc import _native as native
from mpc.recover import drill
from mpc.recover.drill import quorums_of, run_drill
from mpc.recover.opening import read_folder, unlock
from tests.unit.mpc.layer4.share_copies import KEY_ID
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import ED25519, TAPROOT, key
from tests.unit.mpc.recover.bucket import STRANGER, write_copies


@pytest.fixture
def drilled(command):
    def run(*words):
        done = command("drill", "--json", *words)
        return done.exit_code, json.loads(done.stdout)

    return run


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_every_copy_takes_part_and_every_key_signs(protocol, folder, drilled):
    paths = write_copies(folder, key(protocol))
    code, said = drilled()
    assert code == 0
    assert said["result"].startswith("passed")
    (found,) = said["keys"]
    assert found["recovered"] is True
    assert found["sets"][0]["quorums"] == [
        {"signers": ["signer-1", "signer-2"], "fault": None},
        {"signers": ["signer-1", "signer-3"], "fault": None},
    ]
    assert {file["sha256"] for file in said["files"]} == {
        hashlib.sha256(path.read_bytes()).hexdigest() for path in paths.values()
    }


def test_the_report_has_everything_and_no_secret(folder, command, tmp_path):
    paths = write_copies(folder, key(TAPROOT))
    done = command("drill", "--report", str(tmp_path / "report.md"))
    text = (tmp_path / "report.md").read_text()
    assert done.exit_code == 0
    assert "drill passed" in done.output
    assert f"at: {datetime.now(UTC):%Y-%m-%dT}" in text
    assert str(KEY_ID) in text
    assert key(TAPROOT)[1].public_key.hex() in text
    assert "signer-1+signer-3" in text
    for path in paths.values():
        assert hashlib.sha256(path.read_bytes()).hexdigest() in text
    for share in key(TAPROOT).values():
        assert share.secret_share().hex() not in text + done.output


def test_an_existing_report_stays(folder, command, tmp_path):
    write_copies(folder, key(ED25519))
    (tmp_path / "report.md").write_text("last quarter")
    assert command("drill", "--report", str(tmp_path / "report.md")).exit_code == 1
    assert (tmp_path / "report.md").read_text() == "last quarter"


def test_both_generations_are_proved(folder, drilled):
    write_copies(folder, key(ED25519))
    write_copies(folder, parties.refresh(key(ED25519)), generation=1)
    code, said = drilled()
    assert code == 0
    assert [len(each["quorums"]) for each in said["keys"][0]["sets"]] == [2, 2]


def test_a_lost_key_fails_the_drill(folder, drilled):
    paths = write_copies(folder, key(ED25519))
    paths[1].unlink()
    paths[2].unlink()
    code, said = drilled()
    assert code == 6
    assert said["keys"][0]["recovered"] is False
    assert said["result"].startswith("failed")


def test_a_missing_copy_is_not_success(folder, drilled):
    write_copies(folder, key(ED25519))[1].unlink()
    code, said = drilled()
    assert code == 4
    assert said["result"].startswith("incomplete")


def test_no_files_and_files_of_others_are_not_success(folder, drilled):
    assert drilled()[0] == 3
    write_copies(folder, key(ED25519), customer=STRANGER)
    assert drilled()[0] == 5


def test_a_file_that_changes_during_the_drill_is_not_success(folder, customer_key):
    paths = write_copies(folder, key(ED25519))
    unlocked = unlock(customer_key)
    contents = read_folder(folder, unlocked)
    paths[1].write_bytes(paths[2].read_bytes())
    (result,) = run_drill(contents.keys, unlocked, datetime.now(UTC))
    assert not result.passed
    assert {quorum.fault for quorum in result.sets[0].quorums} == {
        "the file was changed while it was in use"
    }


def test_a_key_that_does_not_sign_is_not_success(folder, drilled, monkeypatch):
    def broken(*_):
        raise ValueError("the signature does not verify")

    monkeypatch.setattr(drill, "sign", broken)
    write_copies(folder, key(ED25519))
    code, said = drilled()
    assert code == 6
    assert said["keys"][0]["recovered"] is False


def test_quorums_use_every_share():
    assert quorums_of([1, 2, 3], 2) == [[1, 2], [1, 3]]
    assert quorums_of([2, 3, 5], 3) == [[2, 3, 5]]
    assert quorums_of([1, 2, 3, 4, 5], 3) == [[1, 2, 3], [1, 2, 4], [1, 2, 5]]
    assert quorums_of([4], 1) == [[4]]

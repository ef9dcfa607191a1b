"""What inspect says about a folder of files."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.wire.algorithms import Network
from mpc import _native as native
from mpc.layer4.canary import new_canary
from mpc.layer4.customer_key import parse_customer_key
from mpc.layer4.share_copy import read_share_copy
from tests.unit.mpc.layer4.share_copies import KEY_ID, documents
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT, key
from tests.unit.mpc.recover.bucket import CUSTOMER, STRANGER, forged, sealed, write_copies


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_key_with_all_copies_is_complete(protocol, folder, inspected):
    write_copies(folder, key(protocol))
    code, said = inspected()
    (found,) = said["keys"]
    assert code == 0
    assert found["key_id"] == str(KEY_ID)
    assert found["public_key"] == "0x" + key(protocol)[1].public_key.hex()
    assert found["state"] == "complete"
    assert [each["signer"] for each in found["sets"][0]["copies"]] == [
        "signer-1", "signer-2", "signer-3",
    ]  # fmt: skip
    assert {file["state"] for file in said["files"]} == {"good"}
    assert not any(file["notes"] for file in said["files"])


def test_nothing_secret_is_printed(folder, command):
    write_copies(folder, key(ED25519))
    secrets = [share.secret_share().hex() for share in key(ED25519).values()]
    for words in ([], ["--json"]):
        printed = command("inspect", *words).output
        assert not any(secret in printed for secret in secrets)


def test_the_address_of_a_wallet_is_shown(folder, command):
    write_copies(folder, key(TAPROOT), network=Network.BITCOIN)
    assert "bc1p" in command("inspect").output


def test_a_missing_copy_is_named_and_the_key_can_be_recovered(folder, inspected):
    write_copies(folder, key(ED25519))[2].unlink()
    code, said = inspected()
    assert code == 4
    assert said["keys"][0]["state"] == "enough"
    assert said["keys"][0]["sets"][0]["missing"] == ["signer-2"]


def test_fewer_than_t_copies_are_a_lost_key(folder, inspected):
    paths = write_copies(folder, key(ED25519))
    paths[1].unlink()
    paths[2].unlink()
    code, said = inspected()
    assert code == 6
    assert said["keys"][0]["state"] == "too few"


def test_copies_of_two_sets_do_not_add_up(folder, inspected):
    before = write_copies(folder, key(ED25519))
    after = write_copies(folder, parties.refresh(key(ED25519)), generation=1)
    for path in (before[2], before[3], after[1], after[2]):
        path.unlink()
    code, said = inspected()
    assert code == 6
    assert [each["generation"] for each in said["keys"][0]["sets"]] == [1, 0]


def test_an_older_set_still_gives_the_key(folder, inspected):
    write_copies(folder, key(ED25519))
    after = write_copies(folder, parties.refresh(key(ED25519)), generation=1)
    after[1].unlink()
    after[2].unlink()
    code, said = inspected()
    assert code == 0
    assert [each["state"] for each in said["keys"][0]["sets"]] == ["too few", "complete"]


def test_an_empty_folder_has_nothing(inspected):
    code, said = inspected()
    assert code == 3
    assert said["keys"] == said["files"] == []


def test_files_of_another_customer_are_foreign(folder, inspected):
    write_copies(folder, key(ED25519), customer=STRANGER)
    code, said = inspected()
    assert code == 5
    assert {file["fault"] for file in said["files"]} == {"it is encrypted to another recipient"}


def test_files_of_other_formats_are_foreign_and_harm_nothing(folder, inspected):
    write_copies(folder, key(ED25519))
    (folder / "README.txt").write_text("the bucket of the customer")
    (folder / "empty").touch()
    code, said = inspected()
    assert code == 0
    assert [file["file"] for file in said["files"] if file["state"] == "foreign"] == [
        "README.txt", "empty",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["inspect", "drill", "recover"])
@pytest.mark.parametrize(
    ("content", "code", "what", "todo"),
    [
        ("nothing", 3, "contains no files", "Download the customer's bucket"),
        ("another customer's", 5, "3 files in", "Give the private half of the key"),
        ("texts", 5, "has 1 files, and none is a share copy", "Download the customer's bucket"),
        ("canaries", 3, "has 1 canaries and no share copies", "the other folders"),
        ("damage", 6, "3 files are damaged, 0 are not", "Download the bucket again"),
    ],
)
def test_a_folder_without_keys_is_named_with_the_next_step(
    content, code, what, todo, name, folder, command, tmp_path
):
    if content == "another customer's":
        write_copies(folder, key(ED25519), customer=STRANGER)
    elif content == "texts":
        (folder / "README.txt").write_text("the bucket of the customer")
    elif content == "canaries":
        write_canary(folder)
    elif content == "damage":
        for path in write_copies(folder, key(ED25519)).values():
            path.write_bytes(path.read_bytes()[:-1])
    words = [str(KEY_ID), "--output", str(tmp_path / "out")] if name == "recover" else []
    done = command(name, *words)
    assert done.exit_code == (1 if name == "recover" else code)
    assert what in done.stderr
    assert todo in done.stderr


def write_canary(folder: Path) -> None:
    public_key = parse_customer_key(
        CUSTOMER.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    )
    canary = new_canary("signer-1/", "signer-1", public_key, datetime.now(UTC))
    path = folder / canary.name
    path.parent.mkdir(parents=True)
    path.write_bytes(canary.content)


def test_a_canary_is_no_fault(folder, inspected):
    write_canary(folder)
    code, said = inspected()
    assert code == 3
    write_copies(folder, key(ED25519))
    code, said = inspected()
    assert code == 0
    assert [file["state"] for file in said["files"]].count("canary") == 1


@pytest.mark.parametrize("place", ["header", "middle", "end"])
def test_a_flipped_bit_is_found(place, folder, inspected):
    path = write_copies(folder, key(ED25519))[1]
    data = bytearray(path.read_bytes())
    data[{"header": data.index(b"\n---") + 6, "middle": len(data) // 2, "end": -1}[place]] ^= 1
    path.write_bytes(data)
    code, said = inspected()
    assert code == 4
    (bad,) = [file for file in said["files"] if file["state"] != "good"]
    assert bad["state"] == "damaged"
    assert "does not decrypt" in bad["fault"]


def test_a_file_that_was_cut_off_is_damaged(folder, inspected):
    path = write_copies(folder, key(ED25519))[1]
    path.write_bytes(path.read_bytes()[:-1000])
    code, said = inspected()
    assert code == 4
    assert "damaged" in {file["state"] for file in said["files"]}


def test_names_do_not_matter(folder, inspected):
    for number, path in enumerate(write_copies(folder, key(ED25519)).values()):
        path.rename(folder / f"copy {number}")
    shutil.rmtree(folder / "signer-1")
    code, said = inspected()
    assert code == 0
    assert not any(file["notes"] for file in said["files"])


def test_a_name_that_contradicts_the_contents_is_reported(folder, inspected):
    paths = write_copies(folder, key(ED25519))
    (folder / "signer-1" / str(KEY_ID)).rename(folder / "signer-1" / str(UUID(int=1)))
    name = paths[2].name
    paths[2].rename(paths[2].with_name(f"9{name[1:]}"))
    paths[3].rename(paths[3].with_name(f"{name[:-8]}0000.age"))
    code, said = inspected()
    notes = [note for file in said["files"] for note in file["notes"]]
    assert code == 0
    assert notes == [
        "its folder is that of another key",
        "its name is that of another set of shares",
        "its bytes do not have the SHA-256 of its name",
    ]


def test_a_secret_share_that_is_not_the_right_one_is_damaged(folder, inspected):
    paths = write_copies(folder, key(ED25519))
    paths[1].write_bytes(sealed(forged(documents(key(ED25519))[1], secret_share="0x" + "01" * 32)))
    code, said = inspected()
    assert code == 4
    assert "the secret share does not fit its verifying share" in {
        file["fault"] for file in said["files"]
    }


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_verifying_shares_of_another_key_are_damaged(protocol, folder, inspected):
    paths = write_copies(folder, key(protocol))
    copies = documents(key(protocol))
    honest = read_share_copy(copies[1])
    other = parties.refresh(key(protocol))[2].verifying_shares[2]
    changed = honest.model_dump(mode="json")["verifying_shares"] | {"2": "0x" + other.hex()}
    paths[1].write_bytes(sealed(forged(copies[1], verifying_shares=changed)))
    code, said = inspected()
    assert code == 4
    assert "damaged" in {file["state"] for file in said["files"]}


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_public_key_that_the_shares_do_not_give_is_damage(protocol, folder, inspected):
    """The verifying shares agree with each other, and are those of the right key."""
    paths = write_copies(folder, key(protocol))
    copies = documents(key(protocol))
    other = key(protocol, 2, 2)[1].public_key
    paths[1].write_bytes(sealed(forged(copies[1], public_key="0x" + other.hex())))
    code, said = inspected()
    assert code == 4
    faults = {file["fault"] for file in said["files"]}
    assert "the verifying shares do not belong to the public key" in faults


def test_a_lying_signer_cannot_make_a_key_unrecoverable(folder, inspected):
    """A copy with a public key of its own makes a set that never has t copies."""
    paths = write_copies(folder, key(ED25519))
    paths[1].write_bytes(
        sealed(forged(documents(key(ED25519))[1], generation=7, transcript="0x00"))
    )
    code, said = inspected()
    assert code == 4
    assert said["keys"][0]["state"] == "enough"


def test_a_share_that_the_library_cannot_load_still_counts(folder, inspected):
    paths = write_copies(folder, key(DKLS))
    paths[1].write_bytes(sealed(forged(documents(key(DKLS))[1], share="AAAA")))
    code, said = inspected()
    (note,) = [
        note for file in said["files"] for note in file["notes"] if "no signer can be" in note
    ]
    assert code == 0
    assert "the protocol's library cannot load its share" in note

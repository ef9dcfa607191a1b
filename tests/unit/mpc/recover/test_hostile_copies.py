"""Files of an attacker among the honest copies: they are listed, and the others are used."""

import os
from uuid import UUID

import pytest

from custody.wire.algorithms import Network
from mpc.recover import found_files
from mpc.recover.share_file import MAX_SIZE
from tests.unit.mpc.layer4.share_copies import KEY_ID, documents
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, ED25519, key
from tests.unit.mpc.recover.bucket import STRANGER, forged, sealed, write_copies
from tests.unit.mpc.recover.test_recover import public_key_of

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
OTHER_ID = "0e5b1a8e-0000-4000-8000-000000000001"


@pytest.fixture
def recovered(command, tmp_path):
    """Recover a key by one of its names, and return its public key."""

    def run(wanted: str, protocol: str = ED25519) -> bytes:
        output = tmp_path / "recovered"
        done = command("recover", wanted, "--output", str(output))
        assert done.exit_code == 0, done.output
        return public_key_of(protocol, int(output.read_text(), 16))

    return run


def refused(said, state="foreign") -> dict[str, str]:
    return {file["file"]: file["fault"] for file in said["files"] if file["state"] == state}


def test_what_is_not_a_file_is_listed_and_not_opened(folder, inspected, recovered, tmp_path):
    """A named pipe would be waited for, and /dev/zero has no end."""
    write_copies(folder, key(ED25519))
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "circle").symlink_to(folder)
    (folder / "endless").symlink_to("/dev/zero")
    (folder / "elsewhere").symlink_to(tmp_path / "customer-key")
    code, said = inspected()
    assert code == 0
    assert refused(said) == {
        "circle": "it is a symbolic link, which is not read",
        "elsewhere": "it is a symbolic link, which is not read",
        "endless": "it is a symbolic link, which is not read",
        "loop": "it is a symbolic link, which is not read",
        "pipe": "it is a named pipe, which is not read",
    }
    assert recovered(str(KEY_ID)) == key(ED25519)[1].public_key


def test_a_copy_that_becomes_a_pipe_is_not_waited_for(folder, customer_key):
    from mpc.recover.customer_private_key import read_private_key
    from mpc.recover.found_files import find_files
    from mpc.recover.share_file import open_share_file, read_share_file

    path = write_copies(folder, key(ED25519))[1]
    unlocked = read_private_key(customer_key, str)
    found = next(each for each in find_files(folder) if each.path == path)
    good = read_share_file(found, folder, unlocked)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="named pipe"):
        open_share_file(good, unlocked)
    assert read_share_file(found, folder, unlocked).state == "damaged"


def test_a_sparse_file_without_end_is_foreign(folder, inspected):
    write_copies(folder, key(ED25519))
    with (folder / "sparse").open("wb") as file:
        file.truncate(2**42)
    with (folder / "slightly").open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    code, said = inspected()
    assert code == 0
    assert set(refused(said).values()) == {"it is larger than any share copy"}


def test_folders_without_end_are_not_followed(folder, inspected):
    write_copies(folder, key(ED25519))
    deep = folder
    for _ in range(found_files.MAX_DEPTH + 5):
        deep /= "d"
    deep.mkdir(parents=True)
    code, said = inspected()
    assert code == 0
    assert set(refused(said).values()) == {f"it is below {found_files.MAX_DEPTH} folders"}


def test_a_folder_that_cannot_be_read_is_damage(folder, inspected, monkeypatch):
    """The tests may run as root, who reads every folder."""
    write_copies(folder, key(ED25519))
    listed = found_files._entries

    def denied(below):
        if below.name == "signer-2":
            raise PermissionError(13, "Permission denied", str(below))
        return listed(below)

    monkeypatch.setattr(found_files, "_entries", denied)
    code, said = inspected()
    assert code == 4
    assert refused(said, "damaged") == {"signer-2": "the folder cannot be read: Permission denied"}


def test_too_many_files_are_an_error_with_a_way_on(folder, command, monkeypatch):
    write_copies(folder, key(ED25519))
    monkeypatch.setattr(found_files, "MAX_FILES", 2)
    done = command("inspect")
    assert done.exit_code == 1
    assert "Download the bucket in parts" in done.output


@pytest.mark.parametrize("command_name", ["inspect", "drill"])
def test_no_escape_reaches_the_terminal(command_name, folder, command):
    copies = documents(key(ED25519))
    write_copies(folder, key(ED25519))
    (folder / f"file{ESCAPE}").write_text("x")
    (folder / f"pipe{ESCAPE}").symlink_to("x")
    for number, name in enumerate(("group", ESCAPE, "scheme", "share")):
        (folder / str(number)).write_bytes(sealed(forged(copies[1], **{name: ESCAPE})))
    printed = command(command_name).output
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "\\x1b" in printed


def test_no_escape_reaches_the_terminal_by_an_error(folder, command, tmp_path):
    write_copies(folder, key(ED25519))
    done = command("recover", f"nothing{ESCAPE}", "--output", str(tmp_path / "recovered"))
    assert done.exit_code == 1
    assert "\x1b" not in done.output


@pytest.mark.parametrize(
    "changes",
    [
        {"generation": 2**31},
        {"generation": 10**4000},
        {"threshold": 1},
        {"threshold": 4},
        {"threshold": 10**4000},
        {"index": 0},
        {"index": 10**4000},
        {"signers": [f"signer-{number}" for number in range(1, 20_000)]},
        {"signers": ["signer-1", "signer-1", "signer-3"]},
        {"verifying_shares": {str(number): "0x00" for number in range(1, 20_000)}},
        {"verifying_shares": {"1": "0x" + "00" * 100_000}},
        {"verifying_shares": {"9" * 4000: "0x00"}},
        {"group": "g" * 100_000},
        {"transcript": "0x" + "00" * 100_000},
        {"chain_code": "0x" + "00" * 100_000},
        {"network": "Ethereum"},
        {"x" * 1_000_000: None},
        {"share": "AAAA" * 700_000},
    ],
    ids=lambda changes: f"{next(iter(changes))[:20]}",
)
def test_facts_outside_of_their_bounds_are_damage(changes, folder, inspected, recovered):
    write_copies(folder, key(ED25519))
    (folder / "hostile").write_bytes(sealed(forged(documents(key(ED25519))[1], **changes)))
    code, said = inspected()
    assert code == 4
    assert len(refused(said, "damaged")["hostile"]) < 400
    assert [each["state"] for each in said["keys"]] == ["complete"]
    assert recovered(str(KEY_ID)) == key(ED25519)[1].public_key


@pytest.mark.parametrize(
    "document", [b"[" * 1_000_000, b'{"payload":' * 200_000, b"", b"\xff" * 1000, b"null", b"1e999"]
)
def test_json_of_any_shape_is_damage(document, folder, inspected):
    write_copies(folder, key(ED25519))
    (folder / "hostile").write_bytes(sealed(document))
    code, said = inspected()
    assert code == 4
    assert set(refused(said, "damaged")) == {"hostile"}


def test_a_header_with_very_many_recipients_is_not_tried(folder, inspected):
    path = write_copies(folder, key(ED25519))[1]
    version, rest = path.read_bytes().split(b"\n", 1)
    stanza = b"\n".join(rest.split(b"\n")[:2])
    path.write_bytes(version + b"\n" + (stanza + b"\n") * 1_000 + rest)
    code, said = inspected()
    assert code == 4
    assert list(refused(said).values()) == [
        "its header has no end, or is longer than that of a share copy"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_code": "0x" + "01" * 32},
        {"network": "Bitcoin"},
        {"key_id": OTHER_ID},
        {"generation": 900},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("name", ["id", "public key"])
def test_a_lone_forged_copy_does_not_block_the_key(changes, name, folder, recovered):
    """It names the right public key with another fact beside it."""
    write_copies(folder, key(DKLS))
    (folder / "hostile").write_bytes(sealed(forged(documents(key(DKLS))[1], **changes)))
    public_key = key(DKLS)[1].public_key
    assert recovered(str(KEY_ID) if name == "id" else public_key.hex(), DKLS) == public_key


def test_a_lone_forged_copy_with_the_set_id_of_another_does_not_count(folder, inspected):
    """The honest set and the forged one have one ceremony, and are two sets."""
    honest = write_copies(folder, key(ED25519))
    other = parties.refresh(key(ED25519))
    ceremony = honest[1].name[2:38]
    copy = forged(documents(other, generation=1)[2], ceremony=ceremony, generation=0)
    honest[2].write_bytes(sealed(copy))
    honest[3].unlink()
    code, said = inspected()
    assert code == 6
    assert [each["state"] for each in said["keys"][0]["sets"]] == ["too few", "too few"]


@pytest.mark.parametrize("honest_copies", [3, 1])
def test_a_whole_set_of_another_key_under_the_same_id_is_never_chosen_by_the_id(
    honest_copies, folder, command, recovered, tmp_path
):
    """The attacker knows its own key, so its set is complete. Only the customer can tell."""
    paths = write_copies(folder, key(ED25519))
    for index in range(honest_copies + 1, 4):
        paths[index].unlink()
    forged_key = parties.make_key(ED25519, 2, 3)
    write_copies(folder, forged_key, generation=5)
    done = command("recover", str(KEY_ID), "--output", str(tmp_path / "recovered"))
    assert done.exit_code == 1
    assert "Name one by its public key" in done.output
    assert not (tmp_path / "recovered").exists()
    assert "name different public keys" in command("inspect").output
    if honest_copies == 3:
        public_key = key(ED25519)[1].public_key
        assert recovered(public_key.hex()) == public_key


def test_two_whole_sets_of_one_public_key_with_other_facts_are_told(folder, command, tmp_path):
    """Only the holder of the private key, or t signers, can make the second set."""
    write_copies(folder, key(DKLS), network=Network.ETHEREUM)
    write_copies(folder, key(DKLS), key_id=UUID(OTHER_ID))
    public_key = key(DKLS)[1].public_key.hex()
    done = command("recover", public_key, "--output", str(tmp_path / "recovered"))
    assert done.exit_code == 1
    assert "2 keys with this public key" in done.output
    assert OTHER_ID in done.output


def test_a_forged_share_in_the_right_set_is_not_used(folder, recovered):
    """Its file comes before the honest one, and names the same index."""
    write_copies(folder, key(ED25519))
    copy = forged(documents(key(ED25519))[1], secret_share="0x" + "01" * 32)
    (folder / "0").write_bytes(sealed(copy))
    assert recovered(str(KEY_ID)) == key(ED25519)[1].public_key


def test_a_forged_copy_of_a_stranger_is_foreign(folder, inspected):
    write_copies(folder, key(ED25519))
    (folder / "hostile").write_bytes(sealed(documents(key(ED25519))[1], STRANGER))
    code, said = inspected()
    assert code == 0
    assert set(refused(said)) == {"hostile"}

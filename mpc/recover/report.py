"""What the commands print about the files of a folder."""

from collections import Counter
from typing import Any

from custody.runtime.console import (
    EXIT_CANNOT_DECRYPT,
    EXIT_DAMAGED,
    EXIT_NOTHING_THERE,
    out,
    print_table,
)
from custody.runtime.errors import OperatorError
from custody.wire.signed_bytes import signing_key_id
from mpc.recover.contents import FolderContents, RootKey, SetState, ShareSet
from mpc.recover.customer_private_key import OTHER_RECIPIENT
from mpc.recover.share_file import FileState, ShareFile

EXIT_COMPLETE = 0
EXIT_KEY_LOST = 6

CONTRADICTION = (
    "copies name different public keys, chain codes or networks; compare them with the address "
    "that you know"
)
DOWNLOAD = "Download the customer's bucket (aws s3 sync s3://BUCKET FOLDER), and name that folder."

COLUMNS = [
    "key_id", "algorithm", "address or public key", "group", "threshold", "generation",
    "ceremony", "signers", "missing", "state",
]  # fmt: skip


def exit_code(contents: FolderContents) -> int:
    """Return how the command ends; the help text of inspect explains the codes."""
    states = {key.state for key in contents.keys}
    damaged = contents.files_that_are(FileState.DAMAGED)
    if SetState.TOO_FEW in states or (damaged and not contents.keys):
        return EXIT_KEY_LOST
    if damaged or SetState.ENOUGH in states or contents.contradictions:
        return EXIT_DAMAGED
    if contents.keys:
        return EXIT_COMPLETE
    states_of_files = {file.state for file in contents.files}
    return EXIT_CANNOT_DECRYPT if states_of_files == {FileState.FOREIGN} else EXIT_NOTHING_THERE


def no_key(contents: FolderContents, folder: str, customer_key: str) -> OperatorError | None:
    """Return what was found instead of keys, and the next step; None if there is a key."""
    if contents.keys:
        return None
    states = Counter(file.state for file in contents.files)
    faults = Counter(file.fault for file in contents.files if file.state is FileState.FOREIGN)
    if not contents.files:
        return OperatorError(f"{folder} contains no files", DOWNLOAD)
    if states[FileState.DAMAGED]:
        return OperatorError(
            f"{folder} has no good share copy: {states[FileState.DAMAGED]} files are damaged, "
            f"{states[FileState.FOREIGN]} are not share copies for this customer key",
            "Download the bucket again, earlier versions of its objects too.",
        )
    if states[FileState.CANARY]:
        return OperatorError(
            f"{folder} has {states[FileState.CANARY]} canaries and no share copies: the customer "
            "key is the right one",
            "Download the other folders below the signers' prefixes too: each is a key's id.",
        )
    if faults[OTHER_RECIPIENT]:
        return OperatorError(
            f"{faults[OTHER_RECIPIENT]} files in {folder} are encrypted to another key than the "
            f"given customer key {customer_key}",
            "Give the private half of the key that the signers' `layer4 init` was given: "
            "mpc-signer layer4 status shows its fingerprint, and ssh-keygen -l -f that of a file.",
        )
    return OperatorError(
        f"{folder} has {len(contents.files)} files, and none is a share copy: most often, "
        f"{faults.most_common(1)[0][0]}",
        DOWNLOAD,
    )


def print_contents(contents: FolderContents) -> None:
    """Print the keys with their sets of shares, then the files that need attention."""
    rows = [_row(key, each) for key in contents.keys for each in key.sets]
    if rows:
        print_table(COLUMNS, rows)
    fine = (FileState.GOOD, FileState.CANARY)
    odd = [file for file in contents.files if file.state not in fine or file.notes]
    if odd:
        out.print()
        print_table(
            ["file", "state", "what"],
            [(file.name, file.state.value, _what(file)) for file in odd],
        )
    for key_id in contents.contradictions:
        out.print(f"key {key_id}: {CONTRADICTION}", markup=False)
    good = len(contents.files_that_are(FileState.GOOD))
    lost = sum(key.state is SetState.TOO_FEW for key in contents.keys)
    out.print(
        f"{len(contents.keys) - lost} of {len(contents.keys)} keys can be recovered; "
        f"{good} of {len(contents.files)} files are good share copies",
        markup=False,
    )


def _row(key: RootKey, share_set: ShareSet) -> list[object]:
    facts = share_set.facts
    return [
        facts.key_id,
        facts.algorithm,
        key.address or "0x" + facts.public_key.hex(),
        facts.group,
        f"{facts.threshold} of {len(facts.signers)}",
        facts.generation,
        facts.ceremony,
        ", ".join(share_set.present),
        ", ".join(share_set.missing) or None,
        share_set.state.value,
    ]


def _what(file: ShareFile) -> str:
    return file.fault or "; ".join(file.notes)


def as_json(contents: FolderContents, customer_key: str) -> dict[str, Any]:
    """Return the contents as one JSON document, without secrets."""
    return {
        "customer_key": customer_key,
        "keys": [_key_json(key) for key in contents.keys],
        "contradictions": [str(key_id) for key_id in contents.contradictions],
        "files": [
            {
                "file": file.name,
                "sha256": file.sha256 or None,
                "state": file.state.value,
                "fault": file.fault,
                "notes": list(file.notes),
            }
            for file in contents.files
        ],
    }


def _key_json(key: RootKey) -> dict[str, Any]:
    facts = key.facts
    return {
        "key_id": str(facts.key_id),
        "algorithm": str(facts.algorithm),
        "network": facts.network and facts.network.value,
        "public_key": "0x" + facts.public_key.hex(),
        "address": key.address,
        "group": facts.group,
        "state": key.state.value,
        "sets": [_set_json(each) for each in key.sets],
    }


def _set_json(share_set: ShareSet) -> dict[str, Any]:
    return {
        "generation": share_set.facts.generation,
        "ceremony": str(share_set.facts.ceremony),
        "threshold": share_set.facts.threshold,
        "state": share_set.state.value,
        "missing": share_set.missing,
        "copies": [
            {
                "signer": file.signer,
                "index": file.index,
                "identity": signing_key_id(file.identity_public_key),
                "file": file.name,
            }
            for index in sorted(share_set.files)
            for file in share_set.files[index]
        ],
    }

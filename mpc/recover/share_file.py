"""One file of a folder: whether it is a share copy, of which share, and what is wrong with it."""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from custody.runtime.regular_files import TooLarge, read_regular
from mpc.layer4.canary import is_canary
from mpc.layer4.share_copy import BadShareCopy, ShareCopy, read_share_copy
from mpc.recover.customer_private_key import CustomerPrivateKey, Damaged, NotForThisKey
from mpc.recover.found_files import FoundFile
from mpc.recover.share_set import (
    SetFacts,
    fault_of_facts,
    fault_of_protocol_share,
    fault_of_share,
)

MAX_SIZE = 4 * 2**20
"""In bytes. A share copy is below 2 MB, so a larger file is another thing."""
MAX_FAULT = 300
"""Longest text about a fault, in characters. A hostile file may name a field of a megabyte."""
_NAME = re.compile(r"([0-9]+)-([0-9a-f-]{36})-([0-9a-f]{64})\.age")


class FileState(StrEnum):
    GOOD = "good"
    """The file gives the share that it names."""
    DAMAGED = "damaged"
    """The file is for this customer key, and cannot be used."""
    FOREIGN = "foreign"
    """The file is for another key, or is not a share copy."""
    CANARY = "canary"
    """`mpc-signer layer4 test` put it there; that it decrypts shows that the key is right."""


@dataclass(frozen=True)
class ShareFile:
    """A file without its secrets."""

    path: Path
    name: str
    """The path below the folder that was read."""
    sha256: str
    state: FileState
    fault: str | None = None
    """Why it is damaged or foreign."""
    notes: tuple[str, ...] = ()
    """What is odd about a good file."""
    restore_fault: str | None = None
    """Why no signer can be restored with a good file; the private key can still be recovered."""
    facts: SetFacts | None = None
    index: int = 0
    identity_public_key: bytes = b""

    @property
    def signer(self) -> str:
        assert self.facts is not None
        return self.facts.signers[self.index - 1]


def read_share_file(found: FoundFile, folder: Path, key: CustomerPrivateKey) -> ShareFile:
    """Read a file, and check everything in it.

    The file may come from an attacker. It never raises: a file that cannot be used must not keep
    the others from being used.
    """
    path, name = found.path, str(found.path.relative_to(folder))
    if found.refusal is not None:
        state = FileState.FOREIGN if found.is_readable else FileState.DAMAGED
        return ShareFile(path, name, "", state, found.refusal)
    try:
        data = read_regular(path, MAX_SIZE, follow=False)
    except TooLarge:
        return ShareFile(path, name, "", FileState.FOREIGN, "it is larger than any share copy")
    except OSError as error:
        fault = f"it cannot be read: {error.strerror}"
        return ShareFile(path, name, "", FileState.DAMAGED, fault)
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return _checked(path, name, sha256, key.open(data))
    except NotForThisKey as error:
        return ShareFile(path, name, sha256, FileState.FOREIGN, str(error))
    except (Damaged, BadShareCopy) as error:
        return ShareFile(path, name, sha256, FileState.DAMAGED, str(error)[:MAX_FAULT])
    except Exception as error:  # the file has provoked a fault in a check; its text may be secret
        fault = f"it cannot be checked ({type(error).__name__})"
        return ShareFile(path, name, sha256, FileState.DAMAGED, fault)


def _checked(path: Path, name: str, sha256: str, document: bytes) -> ShareFile:
    """Return the file of a decrypted document. Raise BadShareCopy."""
    if is_canary(document):
        return ShareFile(path, name, sha256, FileState.CANARY)
    copy = read_share_copy(document)
    facts = SetFacts.of(copy)
    fault = fault_of_facts(facts) or fault_of_share(copy)
    if fault is not None:
        return ShareFile(path, name, sha256, FileState.DAMAGED, fault)
    notes = _wrong_names(path, sha256, facts)
    restore_fault = fault_of_protocol_share(copy)
    if restore_fault is not None:
        restore_fault = restore_fault[:MAX_FAULT]
        notes.append(f"no signer can be restored with it: {restore_fault}")
    return ShareFile(
        path,
        name,
        sha256,
        FileState.GOOD,
        notes=tuple(notes),
        restore_fault=restore_fault,
        facts=facts,
        index=copy.index,
        identity_public_key=copy.identity_public_key,
    )


def open_share_file(file: ShareFile, key: CustomerPrivateKey) -> ShareCopy:
    """Read a good file again, with its secrets.

    Raise ValueError if it is not the same file, and OSError if it cannot be read.
    """
    copy = read_share_copy(key.open(read_regular(file.path, MAX_SIZE, follow=False)))
    if SetFacts.of(copy) != file.facts or copy.index != file.index or fault_of_share(copy):
        raise ValueError("the file was changed while it was in use")
    return copy


def _wrong_names(path: Path, sha256: str, facts: SetFacts) -> list[str]:
    """Return where an object's name disagrees with its contents; other names say nothing."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        return []
    generation, ceremony, digest = found.groups()
    wrong = []
    if digest != sha256:
        wrong.append("its bytes do not have the SHA-256 of its name")
    if int(generation) != facts.generation or ceremony != str(facts.ceremony):
        wrong.append("its name is that of another set of shares")
    if _is_other_uuid(path.parent.name, facts.key_id):
        wrong.append("its folder is that of another key")
    return wrong


def _is_other_uuid(text: str, expected: UUID) -> bool:
    try:
        return UUID(text) != expected
    except ValueError:
        return False

"""Where an audit chain begins and what an exported file of it has, for nodes and control plane."""

from pathlib import Path

from custody.runtime.audit_file import FileVerification
from custody.runtime.audit_lines import Place
from custody.runtime.errors import OperatorError
from custody.wire.audit import chain_hash


def place_in_chain(
    sequence: int, begin: Place, hash_: bytes | None, *, chain: str, hint: str
) -> Place:
    """Return the place of a record. 0: where the chain begins. Raise OperatorError.

    ``begin``: the place before the first record, or the checkpoint if records were pruned.
    ``hash_``: the record's hash, or None if the database does not have the record. ``chain``: how
    an error names the chain.
    """
    if sequence in (0, begin.sequence):
        return begin
    if sequence < begin.sequence:
        raise OperatorError(
            f"the records {sequence + 1} to {begin.sequence} of {chain} were pruned", hint
        )
    if hash_ is None:
        raise OperatorError(f"{chain} has no record {sequence}", hint)
    return Place(sequence, hash_)


def next_place(place: Place, sequence: int, record: bytes, hash_: bytes, hint: str) -> Place:
    """Return the place of the record that follows ``place``.

    Raise OperatorError unless number and hash follow from the record before. An export must stop
    there, so that no signed head covers such a record.
    """
    if sequence != place.sequence + 1:
        raise OperatorError(
            f"the record {place.sequence + 1} is missing: the next one is {sequence}",
            f"If a prune ran meanwhile, run this command again. {hint}",
        )
    if chain_hash(place.hash, record) != hash_:
        raise OperatorError(
            f"the hash of record {sequence} does not follow from the record before it", hint
        )
    return Place(sequence, hash_)


def require_continued(path: Path, end: Place | None, begin: Place, hint: str) -> None:
    """Raise OperatorError unless an export that begins at ``begin`` continues the file.

    ``end``: where the file ends; None if it is empty.
    """
    if end not in (None, begin):
        raise OperatorError(
            f"record {begin.sequence} in {path} is not the record of this database", hint
        )


def require_exported(file: FileVerification, pruned: int, hint: str) -> int:
    """Return the last record of a file that has all records after ``pruned`` up to this one.

    Raise OperatorError if the file has findings or begins later.
    """
    if file.findings or file.first is None or file.last is None:
        raise OperatorError("the exported file has findings, or no record", hint)
    if file.first > pruned + 1:
        raise OperatorError(
            f"the exported file lacks the records {pruned + 1} to {file.first - 1}",
            "Name the file that has them: prune with each file in the order of its records.",
        )
    return file.last


def require_same_record(file: FileVerification, hash_: bytes | None, hint: str) -> None:
    """Raise OperatorError unless the database has the file's last record, with this hash."""
    if hash_ is None or hash_.hex() != file.last_hash:
        raise OperatorError(
            f"record {file.last} of the exported file is not the record of this database", hint
        )

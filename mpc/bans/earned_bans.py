"""Bans that are not in the database yet, as files of this host: a killed process loses none.

One file for each ceremony, with the signed ban in it. It goes once the ban is in the database.
"""

from pathlib import Path
from uuid import UUID

import structlog
from pydantic import ValidationError

from custody.runtime.configuration import replace_file, sync_folder
from custody.runtime.errors import OperatorError
from custody.wire.encoding import Base64Bytes, Model
from custody.wire.signed_bytes import SignedBytes

NAME = "earned_bans"

log = structlog.get_logger()


class EarnedBan(Model):
    ceremony: UUID
    payload: Base64Bytes
    signature: Base64Bytes
    signing_key_id: str

    @property
    def signed(self) -> SignedBytes:
        return SignedBytes(
            payload=self.payload, signature=self.signature, signing_key_id=self.signing_key_id
        )


class EarnedBans:
    """``state_directory``: of the node, as for the freeze."""

    def __init__(self, state_directory: Path) -> None:
        self._folder = state_directory / NAME

    def write(self, ceremony: UUID, signed: SignedBytes) -> None:
        """On disk when this returns, unless the disk takes nothing: the log says so then."""
        earned = EarnedBan(ceremony=ceremony, **signed.model_dump())
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                sync_folder(self._folder.parent)
            replace_file(self._path(ceremony), earned.model_dump_json().encode())
        except OSError as error:
            log.error("an earned ban is kept in memory alone", error=str(error))

    def remove(self, ceremony: UUID) -> None:
        """Remove the file of a ban that is in the database. One that stays changes nothing."""
        try:
            self._path(ceremony).unlink(missing_ok=True)
        except OSError as error:
            log.warning("the file of a ban was not removed", error=str(error))

    def all(self) -> list[EarnedBan]:
        """Read all files. Raise OperatorError for one that cannot be read: it may be a ban."""
        return [self._read(path) for path in sorted(self._folder.glob("*.json"))]

    def _path(self, ceremony: UUID) -> Path:
        return self._folder / f"{ceremony}.json"

    def _read(self, path: Path) -> EarnedBan:
        try:
            return EarnedBan.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise unreadable(path, type(error).__name__) from None

    def invalid(self, ceremony: UUID) -> OperatorError:
        """Return the error for a file whose ban this signer has not signed."""
        return unreadable(self._path(ceremony), "this signer has not signed it")


def unreadable(path: Path, why: str) -> OperatorError:
    return OperatorError(
        f"{path} holds a ban that this signer has earned, and cannot be read: {why}",
        "Find out from the log which signer and key it is about, and run `mpc-signer bans add`; "
        "then remove the file.",
    )

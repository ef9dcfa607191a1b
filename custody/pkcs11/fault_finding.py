"""Finding what an error is about: a key, the settings, the token or the session. Workers only."""

from collections.abc import Sequence

from custody.pkcs11 import host_key
from custody.pkcs11.endings import Ending, Step
from custody.pkcs11.errors import HsmFailure, HsmMisconfigured
from custody.pkcs11.identification import Candidate
from custody.pkcs11.master_key import MasterKey
from custody.pkcs11.operation_errors import ending_of
from custody.pkcs11.round_trip import Unable, Way, refused_part, travel
from custody.pkcs11.session_errors import SessionLost, is_refusal, name_of
from pkcs11 import Session
from pkcs11.exceptions import PKCS11Error


class FaultFinding:
    """Tries an operation again with other data. Returns if only the stored key can be at fault.

    Raises HsmFailure or SessionLost for anything else.

    ``candidates``: the master keys of the worker, as it has identified them.
    """

    def __init__(self, session: Session, candidates: Sequence[Candidate]) -> None:
        self._session = session
        self._candidates = {each.name: each for each in candidates}

    def of_wrapping(self, master: MasterKey, way: Way, error: PKCS11Error) -> None:
        """Show that the token unwraps another key in the same way. Raise what is at fault."""
        asked = f"cannot unwrap a key: the token answered {name_of(error)}"
        try:
            travel(self._session, master.key, way)
        except Unable as reason:
            if ending_of(Step.UNWRAP, error) is not Ending.TEMPLATE_TRIED:
                raise HsmFailure(f"{asked}. It opens no other key either: {reason}") from None
            part = self._refused_part(way, error)
            raise HsmMisconfigured(f"{asked}. It refuses {part}") from None
        except PKCS11Error as second:
            raise SessionLost(f"{asked}, then {name_of(second)}") from None
        self._prove_master(master, error)

    def _refused_part(self, way: Way, error: PKCS11Error) -> str:
        if name_of(error).startswith("CKR_MECHANISM"):
            return f"the mechanism CKM_{way.mechanism.name}"
        try:
            return refused_part(self._session, way)
        except PKCS11Error as second:
            raise SessionLost(f"{name_of(error)}, then {name_of(second)}") from None

    def of_encrypting(self, master: MasterKey, error: PKCS11Error) -> None:
        """Show that the token decrypts other data. Raise what is at fault."""
        asked = f"cannot decrypt a key: the token answered {name_of(error)}"
        try:
            is_well = host_key.travels(master)
        except host_key.NonceReplaced as replaced:
            raise HsmMisconfigured(str(replaced)) from None
        except PKCS11Error as second:
            if not is_refusal(second):
                raise SessionLost(f"{asked}, then {name_of(second)}") from None
            if ending_of(Step.DECRYPT, error) is Ending.TEMPLATE_TRIED:
                part = f"the mechanism CKM_{host_key.MECHANISM}"
                raise HsmMisconfigured(f"{asked}. It refuses {part}") from None
            raise HsmFailure(f"{asked}. It decrypts nothing else either") from None
        if not is_well:
            raise SessionLost(f"{asked}. It decrypts to something else than was encrypted")
        self._prove_master(master, error)

    def _prove_master(self, master: MasterKey, error: PKCS11Error) -> None:
        """Raise SessionLost unless the master key is the one that it was."""
        try:
            second = self._candidates[master.name].refusal()
        except PKCS11Error as lost:
            raise SessionLost(f"{name_of(error)}, then {name_of(lost)}") from None
        if second is not None:
            raise SessionLost(f"{name_of(error)}, then {master.name!r}: {second}")

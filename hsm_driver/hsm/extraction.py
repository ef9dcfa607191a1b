"""Extractions of keys, really tried. Workers only."""

from collections.abc import Callable

from pkcs11 import Attribute, Session
from pkcs11.exceptions import PKCS11Error

from hsm_driver.hsm.login import name_of
from hsm_driver.hsm.master_key import MasterKey, newest
from hsm_driver.hsm.messages import Extracted
from hsm_driver.hsm.session_errors import SESSION_LOST

Attempt = Callable[[Session, MasterKey], str]


def _read_value(_: Session, master: MasterKey) -> str:
    return f"CKA_VALUE has {len(master.key[Attribute.VALUE])} bytes"


ATTEMPTS: dict[str, Attempt] = {"read-master-key": _read_value}


def attempt(session: Session, masters: list[MasterKey], name: str) -> Extracted:
    """Try one; ``succeeded`` means that a key came out. Raises PKCS11Error: session lost."""
    master = newest(masters, is_host=False)
    if master is None:
        return Extracted(succeeded=False, detail="there is no master key to try it on")
    try:
        return Extracted(succeeded=True, detail=ATTEMPTS[name](session, master))
    except SESSION_LOST:
        raise
    except PKCS11Error as error:
        return Extracted(succeeded=False, detail=f"refused: {name_of(error)}")

"""A cheap question to the HSM, over an idle session. Workers only."""

from collections.abc import Iterable
from contextlib import suppress

from custody.pkcs11.master_key import MasterKey
from custody.pkcs11.session_errors import SessionLost, name_of
from pkcs11 import Attribute, Session
from pkcs11.exceptions import FunctionNotSupported, PKCS11Error, RandomNoRNG

RANDOM_BITS = 256


def ask(session: Session, masters: Iterable[MasterKey]) -> None:
    """Have the HSM answer over the network. Raises SessionLost for any error.

    C_GenerateRandom: vendors' libraries answer C_GetSessionInfo and C_GetAttributeValue from their
    own memory, but random bytes come from the HSM. The label of each master key: a session that is
    not logged in any more, or that has lost its objects, cannot read the label.
    """
    try:
        with suppress(FunctionNotSupported, RandomNoRNG):
            session.generate_random(RANDOM_BITS)
        for master in masters:
            master.key[Attribute.LABEL]
    except PKCS11Error as error:
        raise SessionLost(f"the HSM did not answer an idle session: {name_of(error)}") from None

"""What this token does where tokens differ, for `doctor` and `hsm-driver try-token`. Workers only.

One step for each setting of TokenTraits, with the value in use and the token's answer.
"""

from collections.abc import Iterator

from custody.pkcs11 import wrap_mechanisms
from custody.pkcs11.login import slot_of
from custody.pkcs11.messages import Outcome, TriedStep
from custody.pkcs11.session_errors import name_of, raise_if_lost
from custody.pkcs11.token_traits import STANDARD_MECHANISMS, in_use
from pkcs11 import Session
from pkcs11.exceptions import PKCS11Error


def steps(session: Session) -> Iterator[TriedStep]:
    """Try each trait. Raise PKCS11Error if the session is lost."""
    serial = bytes(session.token.serial).decode("ascii", "backslashreplace")
    yield TriedStep(name="serial", outcome=Outcome.SAID, detail=serial)
    yield TriedStep(name="slot", outcome=Outcome.SAID, detail=str(slot_of(session)))
    yield _wrap_mechanisms(session)
    yield _sessions(session)


def _wrap_mechanisms(session: Session) -> TriedStep:
    token = session.token
    names = in_use().wrap_mechanisms or tuple(STANDARD_MECHANISMS)
    refusals = {name: wrap_mechanisms.refusal_of(token, name) for name in names}
    said = [name if why is None else f"{name}: {why}" for name, why in refusals.items()]
    outcome = Outcome.WORKS if None in refusals.values() else Outcome.REFUSED
    return TriedStep(name="wrap_mechanisms", outcome=outcome, detail="; ".join(said))


def _sessions(session: Session) -> TriedStep:
    refusal = _refusal_of_read_only(session)
    if in_use().sessions == "read-write":
        also = "opens read-only sessions too" if refusal is None else f"else {refusal}"
        return TriedStep(name="sessions", outcome=Outcome.WORKS, detail=f"read-write; {also}")
    if refusal is None:
        return TriedStep(name="sessions", outcome=Outcome.WORKS, detail="read-only")
    detail = f'read-only: {refusal}. Set sessions = "read-write"'
    return TriedStep(name="sessions", outcome=Outcome.REFUSED, detail=detail)


def _refusal_of_read_only(session: Session) -> str | None:
    try:
        session.token.open(rw=False).close()
    except PKCS11Error as error:
        raise_if_lost(error)
        return name_of(error)
    return None

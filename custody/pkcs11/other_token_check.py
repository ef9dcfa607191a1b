"""The part of ``doctor`` about a token beside the first: it must have the same master keys."""

from collections.abc import Sequence
from dataclasses import replace

from custody.pkcs11.hsm import Hsm
from custody.pkcs11.messages import KnownKey
from custody.pkcs11.settings import HsmSettings
from custody.runtime.checks import Check, Status, failed
from custody.runtime.errors import OperatorError


async def other_token_check(
    first: HsmSettings, other: HsmSettings, known: Sequence[KnownKey]
) -> Check:
    """Log in to the token and have it prove the master keys of the database.

    If the database knows no master key yet, or cannot be asked, the first token's keys count.
    """
    name = f"token {other.token_name}"
    hsm = Hsm(replace(other, workers=1))
    try:
        expected = known or await _keys_of(first)
        await hsm.start(expected, accept_new=False)
        wanted = {key.name for key in expected if key.name is not None and not key.retired}
        missing = sorted(wanted - (await hsm.check_values()).keys())
    except OperatorError as error:
        return failed(name, error)
    finally:
        await hsm.close()
    if missing:
        return Check(
            name,
            Status.FAIL,
            f"it does not have the master keys of the first token: {', '.join(missing)}",
            "Clone or restore the newest master keys to it: docs/how-to/several-tokens.md.",
        )
    return Check(name, Status.OK, "logged in, the same master keys")


async def _keys_of(settings: HsmSettings) -> list[KnownKey]:
    hsm = Hsm(replace(settings, workers=1))
    try:
        await hsm.start()
        values, proofs = await hsm.check_values(), await hsm.proofs()
    finally:
        await hsm.close()
    return [
        KnownKey(name=name, check_value=value, proofs=[proofs[name]] if name in proofs else [])
        for name, value in values.items()
    ]

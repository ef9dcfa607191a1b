"""The part of ``doctor`` about the tokens beside the first: each must have the same master keys."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from custody.pkcs11.administration import administration
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.messages import KnownKey
from custody.pkcs11.setting_checks import trait_checks
from custody.pkcs11.settings import HsmSettings
from custody.runtime.checks import Check, Status, failed
from custody.runtime.errors import OperatorError


async def other_token_checks(
    first: HsmSettings, others: Sequence[HsmSettings], known: Sequence[KnownKey]
) -> AsyncIterator[Check]:
    """Log in to each token, have it prove the keys that the first one has proved, and try settings.

    ``known``: the master keys of the database; empty if the database knows none yet or does not
    answer. If the first token cannot be used, these keys are compared in place of its keys. Another
    check reports the first token.
    """
    if not others:
        return
    problem = None
    expected = list(known)
    try:
        expected = await _proved_by(first, known, accept_new=not known)
    except OperatorError as error:
        problem = error
    for other in others:
        name = f"token {other.token_name}"
        if problem is not None and not expected:
            yield failed(name, problem)
            continue
        check = await _check(name, other, expected)
        yield check
        try:
            async with administration(other) as token:
                for each in await trait_checks(other, token, name):
                    yield each
        except OperatorError as error:
            if check.status is Status.OK:  # else that check says why
                yield failed(f"{name}: settings", error)


async def _check(name: str, other: HsmSettings, expected: Sequence[KnownKey]) -> Check:
    try:
        proved = await _proved_by(other, expected, accept_new=False)
    except OperatorError as error:
        return failed(name, error)
    if missing := sorted(_missing(expected, proved)):
        return Check(
            name,
            Status.FAIL,
            f"it does not have the master keys of the first token: {', '.join(missing)}",
            "Clone or restore the newest master keys to it: docs/how-to/several-tokens.md.",
        )
    return Check(name, Status.OK, "logged in, the same master keys")


def _missing(expected: Sequence[KnownKey], proved: Sequence[KnownKey]) -> set[str]:
    """Return the names of the expected keys whose proof no key of that name has opened."""
    opened = {key.name: {proof.value for proof in key.proofs} for key in proved}
    return {
        key.name
        for key in expected
        if key.name is not None
        and not key.retired
        and (
            key.name not in opened
            or (key.proofs and opened[key.name].isdisjoint(each.value for each in key.proofs))
        )
    }


async def _proved_by(
    settings: HsmSettings, known: Sequence[KnownKey], *, accept_new: bool
) -> list[KnownKey]:
    hsm = Hsm(replace(settings, workers=1))
    try:
        await hsm.start(known, accept_new=accept_new)
        return await hsm.proved_keys()
    finally:
        await hsm.close()

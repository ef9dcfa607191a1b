"""`hsm-driver try-token`: one table about a token, without a database or a control plane."""

from custody.pkcs11.administration import administration
from custody.pkcs11.messages import Outcome, TrialPart, TriedStep
from custody.pkcs11.settings import HsmSettings
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import HSM_ALGORITHMS

SHOWN_OF_SERIAL = 4


async def try_token(settings: HsmSettings, *, short_serial: bool = False) -> list[TriedStep]:
    """Return the steps of every part. A part that ends its worker leaves the other parts alone.

    Raise OperatorError if nobody can log in.
    """
    steps: list[TriedStep] = []
    for part in TrialPart:
        async with administration(settings) as token:
            try:
                steps += await token.try_part(part)
            except OperatorError as error:
                failed = f"{error.what} {error.todo}"
                steps.append(TriedStep(name=f"part {part}", outcome=Outcome.FAILED, detail=failed))
    return [_shortened(step) for step in steps] if short_serial else steps


def _shortened(step: TriedStep) -> TriedStep:
    if step.name != "serial":
        return step
    return step.model_copy(update={"detail": f"…{step.detail.strip()[-SHOWN_OF_SERIAL:]}"})


def works_inside(steps: list[TriedStep]) -> bool:
    """Return whether the token makes, wraps and uses keys of at least one algorithm inside."""
    inside = {f"{algorithm} inside" for algorithm in HSM_ALGORITHMS}
    return any(step.name in inside and step.outcome is Outcome.WORKS for step in steps)

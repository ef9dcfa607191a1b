"""The part of ``doctor`` about settings: what this token does with each."""

from custody.pkcs11.administration import Administration
from custody.pkcs11.messages import Outcome, TrialPart, TriedStep
from custody.pkcs11.settings import HsmSettings
from custody.runtime.checks import Check, Status


def worker_checks(settings: HsmSettings, took: float) -> list[Check]:
    """Return a check for each setting about the workers.

    ``took``: the seconds in which this command's worker loaded the library and logged in.
    """
    seconds = max(settings.start_seconds, settings.deadline_seconds)
    todo = "Raise start_seconds: a worker that signs must also prove each master key in this time."
    start = (Status.OK, None) if took < seconds / 2 else (Status.WARN, todo)
    idle = settings.keepalive_seconds
    return [
        Check("token: workers", Status.OK, f"{settings.workers}, each with a session of its own"),
        Check(
            "token: start_seconds",
            start[0],
            f"a worker has {seconds:g} s to start; this one logged in after {took:.1f} s",
            start[1],
        ),
        Check(
            "token: keepalive_seconds",
            Status.OK,
            f"a worker that was idle for {idle:g} s asks the token for something, and has "
            f"{settings.deadline_seconds:g} s (deadline_seconds) for the answer",
        ),
    ]


async def trait_checks(
    settings: HsmSettings, token: Administration, title: str = "token"
) -> list[Check]:
    """Return a check for each setting for what differs between tokens. Raise OperatorError."""
    steps = await token.try_part(TrialPart.SETTINGS)
    return [_trait(f"{title}: {step.name}", settings, step) for step in steps]


_OF_WRAPPING = ("wrap_mechanisms", "wrap_with_trusted")
"""The settings that do nothing where no key is wrapped: a signer's."""


def _trait(name: str, settings: HsmSettings, step: TriedStep) -> Check:
    if settings.only_encrypting and step.name in _OF_WRAPPING:
        return Check(name, Status.OK, f"{step.detail}; not used: this node wraps no keys")
    if step.outcome is Outcome.REFUSED:
        todo = f"Correct {step.name} in the configuration: docs/how-to/vendor-settings.md."
        return Check(name, Status.FAIL, step.detail, todo)
    if step.name == "master_key_without" and settings.traits.master_key_without:
        todo = "Remove each attribute that this token accepts from master_key_without."
        return Check(name, Status.WARN, step.detail, todo)
    return Check(name, Status.OK, step.detail)

"""The HSM's part of ``doctor``: each step on the way to a signature, tried."""

import time
from collections.abc import AsyncIterator, Sequence

from custody.pkcs11.administration import Administration, administration
from custody.pkcs11.extraction_attempts import ATTEMPTS, Attempt
from custody.pkcs11.launch import HsmCannotStart
from custody.pkcs11.messages import (
    TWIN_STEP,
    Capability,
    KnownKey,
    MasterKeyRecord,
    Obstacle,
    Outcome,
    Stranger,
    TrialPart,
)
from custody.pkcs11.pin import PinRefused
from custody.pkcs11.setting_checks import trait_checks, worker_checks
from custody.pkcs11.settings import HsmSettings
from custody.runtime.checks import Check, Status
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import HSM_ALGORITHMS, Protection

STEPS = {
    Obstacle.MODULE: "module",
    Obstacle.TOKEN: "token",
    Obstacle.MECHANISM: "wrap mechanisms",
    Obstacle.PIN: "PIN",
}


WeakVersions = dict[str, list[str]]
"""The names of the attempts that succeeded, by the name of the master key."""


async def hsm_checks(
    settings: HsmSettings, weak: WeakVersions | None = None, known: Sequence[KnownKey] = ()
) -> AsyncIterator[Check]:
    """Yield each check as soon as it is made, and fill ``weak``. Leave nothing on the token.

    ``known``: the keys that the database knows, if it can be asked.
    """
    began = time.monotonic()
    try:
        async with administration(settings, known) as token:
            took = time.monotonic() - began
            yield Check("module", Status.OK, str(settings.module))
            yield Check("token", Status.OK, settings.token_label)
            yield Check("PIN", Status.OK, "accepted")
            for check in worker_checks(settings, took):
                yield check
            async for check in _token_checks(settings, token, {} if weak is None else weak):
                yield check
    except PinRefused as error:
        yield Check("PIN", Status.FAIL, error.what, error.todo)
    except HsmCannotStart as error:
        for check in _steps_before(settings, error.obstacle):
            yield check
        name = STEPS.get(error.obstacle, "login") if error.obstacle else "HSM worker"
        yield Check(name, Status.FAIL, error.what, error.todo)
    except OperatorError as error:
        yield Check("HSM", Status.FAIL, error.what, error.todo)


def _steps_before(settings: HsmSettings, obstacle: Obstacle | None) -> list[Check]:
    """Return the checks that the worker must have passed to get as far as it did."""
    passed = []
    if obstacle not in (None, Obstacle.MODULE):
        passed.append(Check("module", Status.OK, str(settings.module)))
    if obstacle not in (None, Obstacle.MODULE, Obstacle.TOKEN):
        passed.append(Check("token", Status.OK, settings.token_label))
    return passed


async def encryption_key_checks(settings: HsmSettings) -> AsyncIterator[Check]:
    """Try the settings of a signer's token, and attempts to take out its keys.

    These keys encrypt, and wrap no stored key.
    """
    began = time.monotonic()
    try:
        async with administration(settings) as token:
            for check in worker_checks(settings, time.monotonic() - began):
                yield check
            for check in await trait_checks(settings, token):
                yield check
            if not await token.master_keys():
                yield Check("HSM", Status.FAIL, "no key that encrypts", "master-key generate")
                return
            for attempt in ATTEMPTS:
                if attempt.of_master_key:
                    yield await _extraction(token, attempt, {})
    except OperatorError as error:
        yield Check("HSM", Status.FAIL, error.what, error.todo)


async def _token_checks(
    settings: HsmSettings, token: Administration, weak: WeakVersions
) -> AsyncIterator[Check]:
    for check in await trait_checks(settings, token):
        yield check
    async for check in _capabilities(settings, token):
        yield check
    listed = await token.list_master_keys()
    keys = [key for key in listed.keys if key.adopted is not False]
    yield _master_key(settings, keys)
    unknown = [key.name for key in listed.keys if key.adopted is False]
    if unknown or listed.strangers:
        yield _strangers(unknown, listed.strangers)
    if settings.host_signing:
        yield _host_signing(settings, keys)
    if settings.cached_keys:
        yield _cached_keys(settings)
    if any(key.purpose == "wraps keys" for key in keys):
        for attempt in ATTEMPTS:
            yield await _extraction(token, attempt, weak)
        yield await _twin(token)
        for check in await _rewrap(token):
            yield check


async def _rewrap(token: Administration) -> list[Check]:
    """Say which master keys let their keys out to the next version. Neither answer is a fault."""
    try:
        steps = await token.try_part(TrialPart.REWRAP)
    except OperatorError as error:
        what = f"could not be tried: {error.what}"
        return [Check("rewrap", Status.WARN, what, error.todo)]
    return [Check(step.name, Status.OK, f"{step.outcome}: {step.detail}") for step in steps]


async def _twin(token: Administration) -> Check:
    try:
        (step,) = await token.try_part(TrialPart.TWIN)
    except OperatorError as error:
        what = f"could not be tried: {error.what}"
        return Check(TWIN_STEP, Status.WARN, what, error.todo)
    if step.outcome is Outcome.WORKS:
        return Check(step.name, Status.OK, step.detail)
    todo = "Compare each check value with the noted one: docs/how-to/new-master-key.md."
    return Check(step.name, Status.WARN, step.detail, todo)


async def _capabilities(settings: HsmSettings, token: Administration) -> AsyncIterator[Check]:
    probed = await token.probe()
    found = {capability.algorithm: capability for capability in probed.capabilities}
    for algorithm in HSM_ALGORITHMS:
        name = str(algorithm)
        capability = found.get(algorithm)
        if mechanism := probed.master_key_refuses.get(name):
            status = Status.WARN if found else Status.FAIL
            place = "not possible" if capability is None else "on the host"
            detail = (
                f"{place}: {probed.why_not[name]}; the newest master key does not allow "
                f"{mechanism}, by which this token wraps such keys"
            )
            yield Check(name, status, detail, _OTHER_MECHANISM)
        elif capability is None:
            allowed = algorithm in settings.host_signing
            todo = (
                "See the reason, then run hsm-driver master-key generate if there is no key yet."
                if allowed
                else f'If that is acceptable: [hsm] host_signing = ["{name}"] signs on the host.'
            )
            yield Check(name, Status.WARN, f"not possible: {probed.why_not[name]}", todo)
        elif capability.protection is Protection.HSM:
            yield Check(name, Status.OK, f"inside the HSM, wrapped by {capability.mechanism}")
        else:
            yield Check(name, Status.OK, f"on the host (inside: {probed.why_not[name]})")
    if found:
        yield await _imports(token, list(found.values()))


async def _imports(token: Administration, capabilities: list[Capability]) -> Check:
    """Open a made-up key of each algorithm, as an import does."""
    name = "import"
    try:
        tried = await token.try_import(capabilities)
    except OperatorError as error:
        return Check(name, Status.WARN, f"not possible: {error.what}", error.todo)
    places = {Protection.HSM: "inside the HSM", Protection.HOST: "on the host"}
    protection = {str(each.algorithm): places[each.protection] for each in capabilities}
    ways = "; ".join(f"{each} {protection[each]} ({way})" for each, way in tried.ways.items())
    refused = "; ".join(f"{each} not possible: {why}" for each, why in tried.refusals.items())
    if refused:
        todo = "Only applications that import private keys need this: docs/how-to/import-a-key.md."
        return Check(name, Status.WARN, "; ".join(filter(None, (ways, refused))), todo)
    return Check(name, Status.OK, ways)


_OTHER_MECHANISM = (
    "If wrap_mechanisms has changed, set it back, or make and adopt a master key that allows the "
    "mechanism: hsm-driver master-key generate, then docs/how-to/new-master-key.md."
)


def _master_key(settings: HsmSettings, keys: list[MasterKeyRecord]) -> Check:
    name = "master key"
    if not any(key.purpose == "wraps keys" for key in keys):
        return Check(name, Status.FAIL, "none", "hsm-driver master-key generate")
    restored = {key.check_value for key in settings.restored}
    for key in keys:
        if not key.made_inside and restored.isdisjoint(key.pins):
            return Check(
                name,
                Status.FAIL,
                f"{key.name} was not made inside this HSM, and restored_check_values in the "
                "configuration does not name it: somebody may know the key's value",
                "If the HSM was restored from the backup of its master key: master-key adopt "
                "--restored prints the line for the configuration. If not, find out who put the "
                "key there, and delete it: no node starts with it.",
            )
    newest = [key for key in keys if key.purpose == "wraps keys"][-1]
    detail = f"{newest.name}, check value {newest.short_value}"
    if not newest.made_inside:
        detail += ", restored from a backup"
    weak = [f"{key.name} is {weakness}" for key in keys for weakness in _weaknesses(key)]
    if weak:
        return Check(name, Status.WARN, f"{detail}; {', '.join(weak)}", _REMAKE)
    return Check(name, Status.OK, detail)


def _strangers(unknown: list[str], strangers: list[Stranger]) -> Check:
    said = [f"{name}: this database does not know it" for name in unknown]
    said += [f"{stranger.name}: {stranger.why}" for stranger in strangers]
    adopt = "If you made the unknown version: hsm-driver master-key adopt. " if unknown else ""
    return Check(
        "foreign keys",
        Status.WARN,
        f"under our labels, and not used: {'; '.join(said)}",
        f"{adopt}Somebody who has the PIN put the others there: find out who, and delete them with "
        "the vendor's tool.",
    )


def _weaknesses(key: MasterKeyRecord) -> list[str]:
    flags = (
        (not key.sensitive, "not sensitive"),
        (key.extractable, "extractable"),
        (key.modifiable, "modifiable"),
        (key.copyable is not False, "copyable"),
    )
    return [words for is_weak, words in flags if is_weak]


_REMAKE = "Unless that is wanted, make the next version: hsm-driver master-key generate"


def _host_signing(settings: HsmSettings, keys: list[MasterKeyRecord]) -> Check:
    allowed = ", ".join(sorted(map(str, settings.host_signing)))
    if not any(key.purpose == "encrypts host keys" for key in keys):
        return Check(
            "host signing",
            Status.FAIL,
            f"allowed for {allowed}, but the token has no key to encrypt host keys",
            "hsm-driver master-key generate",
        )
    return Check(
        "host signing",
        Status.WARN,
        f"allowed for {allowed}: where the token cannot sign inside, private keys are in this "
        "host's memory while they sign, and anybody with the PIN and the database can decrypt them",
        "Where that is not acceptable, take the algorithm out of [hsm] host_signing.",
    )


def _cached_keys(settings: HsmSettings) -> Check:
    return Check(
        "cached keys",
        Status.OK,
        f"each worker keeps up to {settings.cached_keys} unwrapped keys in its session on the "
        f"token, each for at most {settings.cached_keys_seconds:g} s. The keys do not leave the "
        "token, but somebody who takes over a worker can sign with them during that time without "
        "the database",
    )


async def _extraction(token: Administration, attempt: Attempt, weak: WeakVersions) -> Check:
    name = f"try: {attempt.name}"
    try:
        outcome = await token.extract(attempt.name)
    except OperatorError as error:
        return Check(name, Status.WARN, f"could not be tried: {error.what}", error.todo)
    if outcome.untried and not outcome.succeeded:
        untried = ", ".join(outcome.untried)
        return Check(
            name, Status.WARN, f"not tried on {untried}: {'; '.join(outcome.refusals)}", _UNTRIED
        )
    if not outcome.succeeded:
        return Check(name, Status.OK, f"refused: {'; '.join(outcome.refusals)}")
    for version in outcome.succeeded:
        weak.setdefault(version, []).append(attempt.name)
    ways = "; ".join(f"{version}: {way}" for version, way in outcome.succeeded.items())
    if outcome.newest in outcome.succeeded:
        return Check(name, attempt.status, f"{attempt.meaning} ({ways})", attempt.todo)
    return Check(
        name, Status.WARN, f"under an older master key, {attempt.meaning} ({ways})", _OLDER
    )


_UNTRIED = (
    "Name the mechanism that wraps keys under these master keys in wrap_mechanisms, and run doctor "
    "again."
)
_OLDER = (
    "New keys are safe once the drivers have adopted the newest master key. Keys under the older "
    "master key stay exposed: the rows 'keys under ...' count them. Without such a row, it opens "
    "only backups and copies from before: retire and delete it "
    "(docs/how-to/rewrap-the-master-key.md)."
)

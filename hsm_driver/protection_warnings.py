"""Warnings of algorithms whose keys were made inside the HSM, and are made on the host now."""

from collections.abc import Mapping

from custody.database.pool import Pool
from custody.wire.algorithms import Algorithm, Protection

_ONE_INSIDE = """
    SELECT 1 FROM wrapped_keys
    WHERE scheme = :scheme AND curve = :curve AND protection = 'hsm' LIMIT 1
"""


def no_new_keys(capabilities: Mapping[Algorithm, Protection]) -> str | None:
    """Return the problem of a driver that can make no key of any algorithm; None if it can."""
    if capabilities:
        return None
    return "the token makes no key of any algorithm: hsm-driver doctor says what it refuses"


async def protection_warnings(
    pool: Pool, capabilities: Mapping[Algorithm, Protection]
) -> list[str]:
    """Return a warning for each algorithm that the token once did inside, and now refuses."""
    warnings = []
    for algorithm, protection in capabilities.items():
        if protection is Protection.HSM:
            continue
        values = {"scheme": algorithm.scheme.value, "curve": algorithm.curve.value}
        if await pool.row(_ONE_INSIDE, values) is not None:
            warnings.append(
                f"new keys of {algorithm} are made on the host, and earlier ones inside the HSM: "
                "hsm-driver doctor says what the token refuses. If that is wrong, correct the "
                f"token, or take {algorithm} out of host_signing, and restart"
            )
    return warnings

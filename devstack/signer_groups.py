"""The signer groups that `make up` and the demo make."""

from collections.abc import Iterable

from custody.client import Custody, PinnedGroup, SignerGroup

SIGNERS = 5
OWNERS = ("acme", "globex", "trustee")
"""The owners of the signers, in turn: two, two and one, so no owner alone reaches a threshold."""


THREE_OF_FIVE, TWO_OF_THREE = "three-of-five", "two-of-three"

SIGNER_GROUPS = {
    THREE_OF_FIVE: PinnedGroup(3, [f"signer-{number}" for number in range(1, SIGNERS + 1)]),
    TWO_OF_THREE: PinnedGroup(2, ["signer-1", "signer-2", "signer-3"]),
}
"""The groups by name, as an application pins them."""


def create_signer_groups(
    custody: Custody, names: Iterable[str] = SIGNER_GROUPS
) -> list[SignerGroup]:
    """Create these groups, or all of them; an existing group stays unchanged."""
    return [
        custody.create_signer_group(
            name, list(SIGNER_GROUPS[name].signers), SIGNER_GROUPS[name].threshold
        )
        for name in names
    ]

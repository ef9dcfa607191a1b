"""The signer groups that `make up` and the demo make."""

from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.client import Custody, SignerGroup

SIGNERS = 5
OWNERS = ("acme", "globex", "trustee")
"""Who have the signers in turn: two, two and one, so that no owner alone reaches a threshold."""


@dataclass(frozen=True)
class Composition:
    """Any ``threshold`` of ``signers`` sign."""

    threshold: int
    signers: Sequence[str]


THREE_OF_FIVE, TWO_OF_THREE = "three-of-five", "two-of-three"

SIGNER_GROUPS = {
    THREE_OF_FIVE: Composition(3, [f"signer-{number}" for number in range(1, SIGNERS + 1)]),
    TWO_OF_THREE: Composition(2, ["signer-1", "signer-2", "signer-3"]),
}
"""By name."""


def create_signer_groups(custody: Custody) -> list[SignerGroup]:
    """Make all of them; harmless when they are there."""
    return [
        custody.create_signer_group(name, list(group.signers), group.threshold)
        for name, group in SIGNER_GROUPS.items()
    ]

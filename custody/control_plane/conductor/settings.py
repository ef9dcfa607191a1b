"""The settings of ceremonies: [ceremonies] and [delivery]."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from custody.runtime.configuration import Section
from custody.wire.clocks import allowed_offset
from custody.wire.jobs import JobKind

Seconds = Annotated[float, Field(gt=0, le=1_800)]


class CeremoniesSection(Section):
    sign_seconds: Seconds = 15
    """For a quorum to sign."""
    keys_seconds: Seconds = 120
    """For all signers to make, import, refresh or repair shares."""
    order_seconds: Seconds = 30
    """For a signer to do an order, as activating a key, or to ask its owner's gate."""
    claim_seconds: Seconds = 3
    """For a signer to take up its task."""
    alive_seconds: Seconds = 25
    """A signer whose last heartbeat is older is away."""

    @property
    def max_clock_offset_seconds(self) -> float:
        """Return the largest offset of a signer's clock at which no ticket ends before its time."""
        shortest = min(self.sign_seconds, self.keys_seconds)
        return allowed_offset(timedelta(seconds=shortest)).total_seconds()

    def seconds_for(self, kind: JobKind) -> float:
        """Until a step's deadline."""
        match kind:
            case JobKind.SIGN | JobKind.PROVE_KEY:
                return self.sign_seconds
            case (
                JobKind.GENERATE_KEY
                | JobKind.IMPORT_KEY
                | JobKind.COPY_KEY
                | JobKind.REFRESH_KEY
                | JobKind.REPAIR_SHARE
            ):
                return self.keys_seconds
            case _:
                return self.order_seconds


class DeliverySection(Section):
    servers: list[Annotated[str, Field(min_length=1, max_length=63)]] = Field(default_factory=list)
    """By the names that the signers' configurations give them; taken in turn."""

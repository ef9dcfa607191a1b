"""Limits for the bytes of held messages, in total and for each signer."""

from collections import Counter

from custody.delivery.problems import not_delivered
from custody.delivery.settings import LimitsSection
from custody.wire.delivery import DeliveryCode


class Budget:
    """A server reserves bytes before it receives them, and releases them when it drops them."""

    def __init__(self, limits: LimitsSection) -> None:
        self._limits = limits
        self._of_signer = Counter[str]()
        self.held = 0

    def reserve(self, signer: str, size: int) -> None:
        """Add bytes. Raise NotDelivered if they exceed a limit."""
        if self._of_signer[signer] + size > self._limits.signer_bytes:
            raise not_delivered(
                DeliveryCode.BUSY,
                f"this server holds {self._of_signer[signer]} bytes of {signer} already; "
                f"{size} more would exceed signer_bytes ({self._limits.signer_bytes})",
            )
        if self.held + size > self._limits.total_bytes:
            raise not_delivered(
                DeliveryCode.BUSY,
                f"this server holds {self.held} bytes already; {size} more would exceed "
                f"total_bytes ({self._limits.total_bytes})",
            )
        self._of_signer[signer] += size
        self.held += size

    def release(self, signer: str, size: int) -> None:
        """Release reserved bytes."""
        self.held -= size
        self._of_signer[signer] -= size
        if not self._of_signer[signer]:
            del self._of_signer[signer]

"""One drill: its throw-away parts, its clock, and what it found."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from custody.client import CustodyError
from custody.runtime.errors import OperatorError
from devstack.drills.application import AcknowledgedKey, Application, Connect
from devstack.progress import say, step
from devstack.stack import Stack, StackOptions
from devstack.verification import NotVerified

RECOVERY_SECONDS = 120.0


class DrillFailed(Exception):
    """A check of a drill has failed."""


class Drill:
    """What the function of a scenario gets. ``folder``: an empty folder for its parts.

    A scenario makes keys and signatures (``application``), loses something (``lose``), brings it
    back and calls ``recovered``, and then ``require_nothing_lost`` or ``record_losses``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[tuple[str, float]] = []
        self.lost: list[str] | None = None
        """What was lost; None until the scenario has compared."""
        self.checked = ""
        self.seconds_to_recover: float | None = None
        self._lost_at: float | None = None

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show and record a step, with its duration."""
        began = time.monotonic()
        with step(what):
            yield
        self.steps.append((what, time.monotonic() - began))

    @contextmanager
    def stack(self, options: StackOptions) -> Iterator[Stack]:
        """Start a stack in the drill's folder, and stop it at the end."""
        stack = Stack(self.folder / "stack", options)
        with self.step("start the stack"):
            stack.start()
        try:
            yield stack
        finally:
            with step("stop the stack"):
                stack.stop()

    def application(self, stack: Stack) -> Application:
        """Return an application that pins all nodes."""
        return Application(self.connect(stack))

    def connect(self, stack: Stack) -> Connect:
        """Return what opens clients that pin all nodes which the stack has now."""
        pins = stack.pinned_nodes
        return lambda: stack.client(pinned_nodes=pins)

    def lose(self, what: str) -> AbstractContextManager[None]:
        """Do as ``step``, for the loss itself. The clock of the recovery starts here."""
        self._lost_at = time.monotonic()
        return self.step(f"LOSS: {what}")

    def recovered(self, application: Application, key: AcknowledgedKey | None = None) -> None:
        """Sign until a signature comes and verifies, and stop the clock.

        ``key``: the key that signs; None: the first one. Raise DrillFailed after two minutes.
        """
        if self._lost_at is None:
            raise RuntimeError("nothing was lost yet: call lose first")
        deadline = time.monotonic() + RECOVERY_SECONDS
        with self.step("sign, and verify the signature"):
            while True:
                try:
                    application.sign(key or application.keys[0], "the first one after the loss")
                    break
                except (CustodyError, NotVerified) as error:
                    if time.monotonic() > deadline:
                        raise DrillFailed(f"no signature came after the loss: {error}") from error
                    time.sleep(0.1)
        self.seconds_to_recover = time.monotonic() - self._lost_at

    def recovered_without_service(self, checked: str) -> None:
        """Stop the clock of a scenario after which no service is left: nothing was lost.

        ``checked``: what the scenario has checked instead of what was told.
        """
        if self._lost_at is None:
            raise RuntimeError("nothing was lost yet: call lose first")
        self.seconds_to_recover = time.monotonic() - self._lost_at
        self.checked, self.lost = checked, []

    def require(self, holds: bool, what: str) -> None:
        """Raise DrillFailed unless it holds."""
        if not holds:
            raise DrillFailed(what)

    def refused(self, command: Callable[[], None], because: str) -> None:
        """Run a command that must fail. Raise DrillFailed unless its error contains ``because``."""
        try:
            command()
        except OperatorError as error:
            self.require(because in str(error), f"the refusal does not say {because!r}: {error}")
            return
        raise DrillFailed(f"the command should have failed, because {because}")

    def require_nothing_lost(
        self, application: Application, connect: Connect | None = None
    ) -> None:
        """Compare all that was told with what is there. Raise DrillFailed if anything is lost."""
        lost = self.compare(application, connect)
        self.require(not lost, f"{len(lost)} lost: {'; '.join(lost)}")
        self.lost = []

    def record_losses(self, lost: list[str]) -> None:
        """Report exactly what was lost. The scenario has checked that nothing more is lost."""
        self.lost = lost

    def compare(self, application: Application, connect: Connect | None = None) -> list[str]:
        """Return what is lost of all that was told. ``connect``: another client."""
        keys, signatures = application.keys, application.signatures
        self.checked = f"{len(keys)} keys, {len(signatures)} signatures"
        with self.step(f"compare {self.checked}; sign with each key"):
            return application.losses(connect)

    def say(self, text: str) -> None:
        say(f"      {text}")

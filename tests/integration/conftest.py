"""What tests of one part with its real neighbours share."""

import pytest

from custody.control_plane.jobs import notifications


@pytest.fixture
def only_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wait end by its event or by its own time, and by no look in between."""
    monkeypatch.setattr(notifications, "RECHECK_SECONDS", 3600)

from pathlib import Path

import pytest

from tests.built_wheels import CLIENT, DAEMONS, build_wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    return {
        "daemons": build_wheel(DAEMONS, folder / "daemons"),
        "client": build_wheel(CLIENT, folder / "client"),
    }

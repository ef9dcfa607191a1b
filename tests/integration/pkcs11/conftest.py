"""Real SoftHSM tokens, each test's own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from custody.pkcs11.administration import administration
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.settings import HsmSettings, PinFile
from custody.wire.algorithms import EDDSA_ED25519
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.outside import LABEL
from tests.providers import faulty_module
from tests.providers.faulty_module import FaultyModule

ROOT = Path(__file__).parents[3]


def settings_for(tokens: TokenFolder, state: Path) -> HsmSettings:
    return HsmSettings(
        module=tokens.module,
        token_label=LABEL,
        pin=PinFile(tokens.pin_file(LABEL)),
        state_directory=state,
        workers=2,
        host_signing=frozenset({EDDSA_ED25519}),
    )


async def make_master_key(settings: HsmSettings, **options: bool) -> None:
    async with administration(settings) as token:
        await token.make_master_key(**{"rewrappable": False, "extractable": False, **options})


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> TokenFolder:
    """A token with a master key, to make others as clones of."""
    folder = tmp_path_factory.mktemp("template")
    tokens = TokenFolder(folder)
    tokens.make(LABEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(tokens.configuration))
        asyncio.run(make_master_key(settings_for(tokens, folder / "state")))
    return tokens


@pytest.fixture
def empty_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenFolder:
    """A token without a master key."""
    tokens = TokenFolder(tmp_path / "token")
    tokens.make(LABEL)
    monkeypatch.setenv("SOFTHSM2_CONF", str(tokens.configuration))
    return tokens


@pytest.fixture
def tokens(template: TokenFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenFolder:
    """A token with a master key, this test's alone."""
    clone = TokenFolder(tmp_path / "token")
    template.copy_to(LABEL, clone)
    monkeypatch.setenv("SOFTHSM2_CONF", str(clone.configuration))
    return clone


@pytest.fixture
def settings(tokens: TokenFolder, tmp_path: Path) -> HsmSettings:
    return settings_for(tokens, tmp_path / "state")


@pytest.fixture(scope="session")
def built_faulty_module() -> None:
    faulty_module.build()


@pytest.fixture
def faulty(
    built_faulty_module: None, tokens: TokenFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultyModule]:
    """The faulty module in front of SoftHSM. It has no rules yet."""
    module = FaultyModule(tmp_path / "faulty", tokens.module)
    for name, value in module.environment.items():
        monkeypatch.setenv(name, value)
    yield module
    module.end_children()


@pytest.fixture
def faulty_settings(settings: HsmSettings, faulty: FaultyModule) -> HsmSettings:
    return replace(settings, module=faulty.module, workers=1)


@asynccontextmanager
async def opened(settings: HsmSettings, **changes: Any) -> AsyncIterator[Hsm]:
    """An Hsm with some settings changed, closed at the end."""
    hsm = Hsm(replace(settings, **changes))
    try:
        await hsm.start()
        yield hsm
    finally:
        await hsm.close()


@pytest.fixture
async def hsm(settings: HsmSettings) -> AsyncIterator[Hsm]:
    async with opened(settings) as started:
        yield started

"""Real tokens of SoftHSM and Kryoptic, each test's own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from custody.pkcs11.administration import administration
from custody.pkcs11.errors import HsmFailure, KeyUnusable
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.settings import HsmSettings, PinFile
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, HSM_ALGORITHMS
from tests.integration.pkcs11.outside import LABEL
from tests.providers import faulty_module
from tests.providers.faulty_module import FaultyModule
from tests.providers.tokens import CAPABILITIES, KINDS, KRYOPTIC, SOFTHSM, Tokens, build_kryoptic

ROOT = Path(__file__).parents[3]
ALGORITHMS = [
    pytest.param(each, marks=pytest.mark.needs("secp256k1")) if each == ECDSA_SECP256K1 else each
    for each in HSM_ALGORITHMS
]
"""The algorithms of HSM mode, as parameters of tests that run on each token."""


def settings_for(tokens: Tokens, state: Path) -> HsmSettings:
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
def built_kryoptic() -> None:
    build_kryoptic()


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> str:
    """The kind of the token. Tests with the mark each_provider run once with each kind."""
    kind: str = getattr(request, "param", SOFTHSM)
    if kind == KRYOPTIC:
        request.getfixturevalue("built_kryoptic")
    return kind


def see_only(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and its children find these tokens."""
    for name, value in tokens.environment.items():
        if name.endswith("_CONF"):
            monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Returns a token of a kind, with a master key. Tests make clones of it."""

    @cache
    def template(kind: str) -> Tokens:
        folder = tmp_path_factory.mktemp("template")
        tokens = KINDS[kind](folder)
        tokens.make(LABEL)
        with pytest.MonkeyPatch.context() as patch:
            see_only(tokens, patch)
            asyncio.run(make_master_key(settings_for(tokens, folder / "state")))
        return tokens

    return template


@pytest.fixture
def empty_token(provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tokens:
    """A token without a master key."""
    tokens = KINDS[provider](tmp_path / "token")
    tokens.make(LABEL)
    see_only(tokens, monkeypatch)
    return tokens


@pytest.fixture
def tokens(
    provider: str,
    templates: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Tokens:
    """A token with a master key, this test's alone."""
    clone = KINDS[provider](tmp_path / "token")
    templates(provider).copy_to(LABEL, clone)
    see_only(clone, monkeypatch)
    return clone


@pytest.fixture
def refused(provider: str) -> type[HsmFailure]:
    """What a token's answer to a damaged key shows: Kryoptic's could mean that the token failed."""
    return KeyUnusable if "precise errors" in CAPABILITIES[provider] else HsmFailure


@pytest.fixture
def settings(tokens: Tokens, tmp_path: Path) -> HsmSettings:
    return settings_for(tokens, tmp_path / "state")


@pytest.fixture(scope="session")
def built_faulty_module() -> None:
    faulty_module.build()


@pytest.fixture
def faulty(
    built_faulty_module: None, tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultyModule]:
    """The faulty module in front of the token. It has no rules yet."""
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

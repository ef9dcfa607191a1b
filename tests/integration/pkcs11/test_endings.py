"""The worker obeys the table of endings: every function that it calls, with every code."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from custody.pkcs11.endings import EXCEPTIONS, Ending, Step, ending
from custody.pkcs11.messages import Hello, Obstacle, PinStanding
from custody.pkcs11.settings import DEFAULT_MASTER_KEY_LABEL
from tests.integration.pkcs11.conftest import ROOT
from tests.integration.pkcs11.endings_seen import CODES, Seen
from tests.integration.pkcs11.outside import LABEL
from tests.providers.faulty_module import FaultyModule
from tests.providers.tokens import Tokens

WALK = "tests.integration.pkcs11.ending_walk"
RESULTS = {"generated", "signed", "sealed", "unsealed", "ready"}
OBSTACLES = {
    Ending.NO_TOKEN: Obstacle.TOKEN,
    Ending.NO_SESSION: Obstacle.SESSION,
    Ending.NO_LOGIN: Obstacle.LOGIN_UNJUDGED,
    Ending.LOGIN_STOPPED: Obstacle.LOGIN_STOPPED,
    Ending.PIN_REFUSED: Obstacle.PIN,
    Ending.NO_KEYS: Obstacle.MASTER_KEY,
}


@pytest.fixture
def seen(tokens: Tokens, tmp_path: Path, faulty: FaultyModule) -> list[Seen]:
    hello = Hello(
        module=str(faulty.module),
        token_label=LABEL,
        pin=tokens.pin_file(LABEL).read_text(),
        pin_standing=PinStanding.PROVEN,
        master_key_label=DEFAULT_MASTER_KEY_LABEL,
        host_signing=[],
        purpose="operations",
    )
    walked = subprocess.run(
        [sys.executable, "-m", WALK, tmp_path / "walk", tokens.module],
        input=hello.model_dump_json(),
        env={
            **os.environ,
            **{key: str(tmp_path / "walk" / "script") for key in faulty.environment},
        },
        cwd=ROOT,
        capture_output=True,  # python-pkcs11 writes what it ignored
        text=True,
        check=True,
    )
    return [Seen(*each) for each in json.loads(walked.stdout)]


def is_right(seen: Seen) -> bool:
    end = ending(Step(seen.step), seen.code)
    match end:
        case Ending.CONTINUED:
            return seen.what in RESULTS
        case Ending.LOST:
            return seen.what == "lost"
        case Ending.LEAKED:
            return seen.what == "signed" and seen.ends
        case Ending.KEY_TRIED | Ending.DEVICE_TRIED if seen.once:
            return seen.what in RESULTS and seen.ends
        case Ending.TEMPLATE_TRIED if seen.once:
            return seen.what in RESULTS and seen.ends
        case Ending.KEY_TRIED | Ending.DEVICE_TRIED:
            # the token opens nothing, so nobody can say that this key is at fault
            return seen.what == "lost" or (seen.what, seen.detail) == ("failure", "hsm_failure")
        case _ if end in OBSTACLES:
            return (seen.what, seen.detail) == ("start_failed", OBSTACLES[end].value)
    return (seen.what, seen.detail, seen.ends) == ("failure", end.facts.code, False)


@pytest.mark.each_provider
def test_the_worker_obeys_the_table(seen: list[Seen]):
    wrong = [(each, ending(Step(each.step), each.code).name) for each in seen if not is_right(each)]
    assert not wrong, f"{len(wrong)} of {len(seen)}: {wrong[:20]}"
    functions = Counter(each.function for each in seen)
    assert all(number % len(CODES) == 0 for number in functions.values())
    assert len(functions) >= 17
    assert {ending(Step(each.step), each.code) for each in seen} >= set(EXCEPTIONS.values())

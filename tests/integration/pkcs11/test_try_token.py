"""`hsm-driver try-token`: one table, from flags alone, and nothing is left on the token."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from custody.pkcs11.messages import TrialPart
from hsm_driver.cli import app
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.outside import LABEL, objects, run
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.return_codes import CKR
from tests.providers.tokens import Tokens


async def try_token(tokens: Tokens, module: Path, *options: str) -> Result:
    flags = [f"--module={module}", f"--token-label={LABEL}"]
    flags += [f"--pin-file={tokens.pin_file(LABEL)}", *options]
    return await asyncio.to_thread(CliRunner().invoke, app, ["try-token", *flags])


async def test_the_table_says_what_the_token_does(tokens: TokenFolder):
    before = objects(tokens)
    done = await try_token(tokens, Path(tokens.module), "--json", "--short-serial")
    assert done.exit_code == 0, done.output
    steps = {step["name"]: step for step in json.loads(done.stdout)}
    assert objects(tokens) == before
    assert tokens.pin_file(LABEL).read_text().strip() not in done.output
    assert steps["ECDSA/secp256k1 inside"]["detail"] == "by AES_KEY_WRAP_PAD"
    refused = [name for name, step in steps.items() if step["outcome"] == "refused"]
    assert "EdDSA/ed25519 inside" in refused
    assert "ECDSA/secp256k1 AES_KEY_WRAP_KWP" in refused
    for name in (
        "session: read-only",
        "AES-256 key on the token",
        "master key: MODIFIABLE",
        "master key: unwrap template: TOKEN",
        "C_CreateObject of a secret key",
        "proof of a key that wraps",
        "proof of a key that encrypts",
        "AES-GCM",
        "EdDSA/ed25519 message of 65536 bytes",
    ):
        assert steps[name]["outcome"] == "works", steps[name]
    assert len(steps["serial"]["detail"]) == 5
    assert not any(step["outcome"] == "failed" for step in steps.values())


@pytest.mark.each_provider
async def test_each_token_passes_and_keeps_nothing(tokens: Tokens):
    before = objects(tokens)
    done = await try_token(tokens, tokens.module, "--json")
    assert done.exit_code == 0, done.output
    assert not [step for step in json.loads(done.stdout) if step["outcome"] == "failed"]
    assert objects(tokens) == before


async def test_a_part_that_ends_its_worker_leaves_the_others(
    tokens: TokenFolder, faulty: FaultyModule
):
    faulty.crashes("C_Sign")
    faulty.returns("C_CreateObject", CKR.TEMPLATE_INCONSISTENT, When(object_class=4))
    done = await try_token(tokens, faulty.module, "--json")
    assert done.exit_code == 1
    steps = {step["name"]: step for step in json.loads(done.stdout)}
    assert steps[f"part {TrialPart.SCHEMES}"]["outcome"] == "failed"
    assert "session: read-only" in steps
    assert "no algorithm works inside this token" in done.stderr


async def test_a_profile_gives_the_settings(tokens: TokenFolder):
    done = await try_token(tokens, Path(tokens.module), "--json", "--profile=softhsm")
    assert done.exit_code == 0, done.output
    steps = {step["name"]: step for step in json.loads(done.stdout)}
    assert steps["wrap_mechanisms"]["detail"] == "AES_KEY_WRAP_PAD; AES_KEY_WRAP"
    assert steps["wrap_with_trusted"]["detail"] == (
        "unwrapped keys have it; new keys cannot have it, because the token then answers "
        "CKR_KEY_NOT_WRAPPABLE"
    )
    # SoftHSM has none of Luna's mechanisms: one error, and no login
    done = await try_token(tokens, Path(tokens.module), "--profile=luna")
    assert done.exit_code == 1
    assert done.stderr.count("error:") == 1
    assert "has none of wrap_mechanisms: 0x80000171 (CKR_MECHANISM_INVALID)" in done.stderr
    done = await try_token(tokens, Path(tokens.module), "--profile=none")
    assert "there is no profile 'none'" in done.stderr


async def test_a_serial_or_a_slot_tells_tokens_of_one_label_apart(tokens: TokenFolder):
    serial = run(tokens, "print(json.dumps(token.serial.decode()))")
    slot = run(tokens, "print(json.dumps(token.slot.slot_id))")
    for options in ([f"--token-serial={serial}"], [f"--slot={slot}"]):
        done = await try_token(tokens, Path(tokens.module), "--json", *options)
        assert done.exit_code == 0, done.output
    for option, said in (
        ("--token-serial=0", "with the serial '0'"),
        (f"--slot={slot + 1}", f"in slot {slot + 1}"),
    ):
        done = await try_token(tokens, Path(tokens.module), option)
        assert done.exit_code == 1
        assert said in " ".join(done.stderr.split())


async def test_a_person_can_enter_the_pin_at_the_token(tokens: TokenFolder, faulty: FaultyModule):
    pin = tokens.pin_file(LABEL).read_text().strip()
    faulty.enters_pin(pin, at="C_Login")
    named = [f"--module={faulty.module}", f"--token-label={LABEL}", "--login=protected-path"]
    done = await asyncio.to_thread(CliRunner().invoke, app, ["try-token", "--json", *named])
    assert done.exit_code == 0, done.output
    steps = {step["name"]: step for step in json.loads(done.stdout)}
    assert steps["login"]["detail"].startswith("protected-path;")


def todo(done: Result) -> str:
    """What the error advises. It must not name what this command does not use."""
    assert done.exit_code == 1, done.output
    said = " ".join(done.stderr.split())
    assert "configuration" not in said
    assert "master-key" not in said
    return said.partition(" -> ")[2]


async def test_an_error_names_the_option_that_corrects_it(tokens: TokenFolder):
    module = Path(tokens.module)
    assert "correct --module" in todo(await try_token(tokens, Path("/nowhere.so")))
    assert "Correct --token-label" in todo(await try_token(tokens, module, "--token-label=none"))
    assert "--profile" in todo(await try_token(tokens, module, "--profile=luna"))
    nothing = f"--pin-file={tokens.pin_file(LABEL)}-none"
    assert "correct --pin-file" in todo(await try_token(tokens, module, nothing))
    flags = [f"--module={module}", f"--token-label={LABEL}", "--login=none"]
    done = await asyncio.to_thread(CliRunner().invoke, app, ["try-token", *flags])
    assert "Give --pin-file and no --login" in todo(done)


async def test_a_wrong_pin_is_tried_once_until_the_memory_beside_its_file_goes(
    tokens: TokenFolder, faulty: FaultyModule
):
    file = tokens.pin_file(LABEL)
    right = file.read_text()
    file.write_text("9999")
    for _ in range(2):
        said = todo(await try_token(tokens, faulty.module))
        memory = file.parent / "pin.json"
        assert said.endswith(f"rm {memory}")
    assert len(faulty.calls("C_Login")) == 1
    memory.unlink()
    todo(await try_token(tokens, faulty.module))
    assert len(faulty.calls("C_Login")) == 2
    file.write_text(right)
    assert (await try_token(tokens, faulty.module)).exit_code == 0


def test_without_a_configuration_the_options_are_named(tmp_path: Path):
    missing = ["--config", str(tmp_path / "none.toml"), "try-token"]
    done = CliRunner().invoke(app, missing)
    assert done.exit_code == 1
    assert "give --module, --token-label and --pin-file" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--token-label=x"], "belong together"),
        (["--slot=1"], "belong together"),
        (["--module=x", "--token-label=x"], "--login user needs --pin-file"),
        (
            ["--module=x", "--token-label=x", "--login=none", "--pin-file=x"],
            "--login none uses no --pin-file",
        ),
        (["--module=x", "--token-label=x", "--login=so"], "there is no login 'so'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: list[str], said: str):
    done = CliRunner().invoke(app, ["try-token", *options])
    assert done.exit_code == 1
    assert said in " ".join(done.stderr.split())

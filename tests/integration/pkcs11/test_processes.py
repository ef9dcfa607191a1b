"""What the processes are allowed to do to each other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from custody.pkcs11.hsm import Hsm
from custody.pkcs11.settings import HsmSettings
from custody.wire.algorithms import ECDSA_SECP256K1
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.conftest import ROOT, opened
from tests.integration.pkcs11.outside import LABEL
from tests.integration.pkcs11.test_workers import STALL, until_ready
from tests.providers.faulty_module import FaultyModule, When

PARENT = """
import asyncio, sys
from pathlib import Path
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.settings import HsmSettings, PinFile
from custody.wire.algorithms import ECDSA_SECP256K1

async def main():
    module, label, pin, state, stall = sys.argv[1:]
    settings = HsmSettings(Path(module), label, PinFile(Path(pin)), Path(state), workers=2)
    hsm = Hsm(settings)
    await hsm.start()
    while hsm.workers < 2:
        await asyncio.sleep(0.02)
    key = await hsm.generate(ECDSA_SECP256K1)
    hung = asyncio.create_task(hsm.sign(key, bytes.fromhex(stall)))
    await asyncio.sleep(0.2)
    print(*hsm.worker_process_ids, flush=True)
    await hung

asyncio.run(main())
"""


def is_alive(process_id: int) -> bool:
    """A zombie that nobody has reaped is not alive."""
    try:
        return "\nState:\tZ" not in (Path("/proc") / str(process_id) / "status").read_text()
    except OSError:
        return False


def maps(process: str) -> str:
    return (Path("/proc") / process / "maps").read_text()


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_no_worker_outlives_a_killed_parent(
    faulty: FaultyModule, tokens: TokenFolder, tmp_path: Path
):
    """One of the two is stuck inside the vendor's library, so it reads no end of file."""
    faulty.hangs("C_Sign", When(data=STALL))
    arguments = [str(faulty.module), LABEL, str(tokens.pin_file(LABEL)), str(tmp_path / "state")]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *arguments, STALL.hex()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert parent.stdout is not None
        workers = [int(word) for word in parent.stdout.readline().split()]
        assert len(workers) == 2
        assert all(is_alive(worker) for worker in workers)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.communicate()
    assert eventually(lambda: not any(is_alive(worker) for worker in workers))


async def test_the_daemon_never_loads_the_vendors_library(hsm: Hsm, tokens: TokenFolder):
    await until_ready(hsm, 2)
    await hsm.sign(await hsm.generate(ECDSA_SECP256K1), bytes(32))
    name = tokens.module.name
    assert name not in maps("self")
    for worker in hsm.worker_process_ids:
        assert name in maps(str(worker))


def test_neither_facade_nor_commands_import_pkcs11():
    code = (
        "import sys; import custody.pkcs11.hsm, custody.pkcs11.commands, custody.pkcs11.doctor; "
        "sys.exit('pkcs11' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


async def test_a_worker_has_one_thread_and_no_core_files(hsm: Hsm):
    for worker in hsm.worker_process_ids:
        process = Path("/proc") / str(worker)
        assert len(list((process / "task").iterdir())) == 1
        limits = (process / "limits").read_text()
        core = next(line for line in limits.splitlines() if "core file" in line)
        assert core.split()[4:6] == ["0", "0"]


async def test_workers_leave_the_signals_of_a_stop_to_the_daemon(settings: HsmSettings):
    async with opened(settings) as hsm:
        await until_ready(hsm, 2)
        workers = hsm.worker_process_ids
        for worker in workers:
            os.kill(worker, signal.SIGTERM)
            os.kill(worker, signal.SIGINT)
        await hsm.sign(await hsm.generate(ECDSA_SECP256K1), bytes(32))
        assert hsm.worker_process_ids == workers

"""A copy of the checkout in which mutants are tried, with builds of its own."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.mutants.catalogue import CHECKOUT, Mutant, Test

FOLDER = CHECKOUT / "build" / "mutants"
MODULE = Path("mpc") / "_native.abi3.so"
S3_SERVER = Path("build") / "versitygw"
PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
    *("--tb=no", "-rf", "--timeout=300"),
]
TESTS_FAILED = 1
"""pytest's exit code for tests that ran and failed. All higher ones are other troubles."""


class Broken(Exception):
    """The tests could not be run: the code did not compile, or pytest did not get to them."""


class CopiedCheckout:
    """The files that git knows, and those that it does not ignore, as they are now."""

    def __init__(self) -> None:
        self.path = FOLDER / "checkout"

    def make(self) -> None:
        """Copy again what has changed; what was built before stays.

        Raises Broken while another run works on the copy. The lock ends with this process.
        """
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._lock = (FOLDER / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Broken("another `make mutants` is under way in this checkout") from None
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=CHECKOUT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        names = [name for name in listed.split("\0") if name and (CHECKOUT / name).is_file()]
        for name in names:
            self._copy(name)
        wanted = {self.path / name for name in names}
        for path in self.path.rglob("*"):
            if path.is_file() and path not in wanted and "__pycache__" not in path.parts:
                path.unlink()
        self._copy(str(MODULE))
        self._link(S3_SERVER)

    def _link(self, name: Path) -> None:
        """Use what was built beside the code, and no mutant changes."""
        target = self.path / name
        if not target.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(CHECKOUT / name)

    def _copy(self, name: str) -> None:
        source, target = CHECKOUT / name, self.path / name
        if target.is_file() and target.read_bytes() == source.read_bytes():
            shutil.copymode(source, target)
            return  # an unchanged file keeps its time, and cargo what it has built of it
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        shutil.copymode(source, target)  # tests run scripts, as devstack/providers.sh

    @contextmanager
    def changed(self, mutant: Mutant) -> Iterator[None]:
        """The mutant's edits are in the copy inside, and undone at the end."""
        before = {edit.file: (self.path / edit.file).read_text() for edit in mutant.edits}
        try:
            for edit in mutant.edits:
                path = self.path / edit.file
                path.write_text(path.read_text().replace(edit.old, edit.new))
                _forget_compiled(path)
            yield
        finally:
            for name, text in before.items():
                (self.path / name).write_text(text)
                _forget_compiled(self.path / name)

    def build_module(self) -> None:
        """Compile the Rust module of the copy. Raises Broken."""
        self._cargo("build", "--package", "mpc-python")
        shutil.copyfile(FOLDER / "cargo" / "release" / "libmpc_python.so", self.path / MODULE)

    def failing(self, tests: Sequence[Test]) -> set[str]:
        """Run tests; return the ids of those that failed. Raises Broken."""
        python = [test for test in tests if not test.is_rust]
        failed = self._failing_python(python) if python else set()
        rust = [test for test in tests if test.is_rust]
        return failed | {test.id for test in rust if self._fails_in_rust(test)}

    def _failing_python(self, tests: Sequence[Test]) -> set[str]:
        ended = subprocess.run(
            [*PYTEST, *sorted({test.id for test in tests})],
            cwd=self.path,
            # programs that tests start take the copy's packages as well
            env=os.environ | {"PYTHONPATH": str(self.path)},
            check=False,
            capture_output=True,
            text=True,
        )
        if ended.returncode > TESTS_FAILED or " error" in ended.stdout.splitlines()[-1]:
            raise Broken(f"pytest: {_last_lines(ended.stdout + ended.stderr)}")
        failed = re.findall(r"^FAILED (\S+?::\w+)(\[.*?\])?(?: - |$)", ended.stdout, re.MULTILINE)
        names = {name for name, _ in failed} | {name + case for name, case in failed}
        return {test.id for test in tests if test.id in names}

    def _fails_in_rust(self, test: Test) -> bool:
        is_unit = "/src/" in test.path
        target = ["--lib"] if is_unit else ["--test", Path(test.path).stem]
        self._cargo("test", "--no-run", *target)
        ended = self._run_cargo("test", *target, "--", test.function)
        ran = re.search(r"^running (\d+) tests?", ended.stdout, re.MULTILINE)
        if ran is None or ran[1] == "0":
            raise Broken(f"cargo: {_last_lines(ended.stdout + ended.stderr)}")
        return ended.returncode != 0

    def _cargo(self, *arguments: str) -> None:
        ended = self._run_cargo(*arguments)
        if ended.returncode:
            raise Broken(f"cargo: {_last_lines(ended.stderr)}")

    def _run_cargo(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {
            "PATH": os.pathsep.join([os.environ["PATH"], str(Path.home() / ".cargo" / "bin")]),
            "CARGO_TARGET_DIR": str(FOLDER / "cargo"),
            "CARGO_PROFILE_RELEASE_INCREMENTAL": "true",  # a change compiles in seconds
            "PYO3_BUILD_EXTENSION_MODULE": "1",  # do not link with libpython, as maturin does not
        }
        return subprocess.run(
            ["cargo", command, "--release", "--locked", *arguments],
            cwd=self.path / "mpc" / "native",
            env=os.environ | environment,
            check=False,
            capture_output=True,
            text=True,
        )


def _forget_compiled(path: Path) -> None:
    """Delete Python's compiled form: two changes within a second would look the same to it."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])

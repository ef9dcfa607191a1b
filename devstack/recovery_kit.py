"""`make recovery-kit`: one folder that installs mpc-recover on a machine without a network."""

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[1]
KIT = CHECKOUT / "dist" / "recovery-kit"
FORMAT_PAGE = CHECKOUT / "docs" / "reference" / "layer4.md"
LIBRARIES = (
    "bcrypt", "coincurve", "cryptography", "embit", "pycryptodome", "pydantic", "pynacl",
    "pyrage", "rich", "typer",
)  # fmt: skip
"""What mpc-recover imports. A test runs mpc-recover from the kit, so none can be missing."""

README = """\
# Recovery kit

This folder installs `mpc-recover` {version} on a machine without a network. The machine needs
Python {python} on {platform}.

    sha256sum --check SHA256SUMS
    python3 -m venv recovery
    recovery/bin/pip install --no-index --no-deps wheels/*.whl
    recovery/bin/mpc-recover --help

`mpc-recover inspect FOLDER --customer-key FILE` shows which keys your files can recover.

`layer4.md` describes the files. `recover.py` recovers a key with Python and the tool `age` alone.
Use it where this kit does not install, with the files of t signers and of one ceremony:

    python3 recover.py CUSTOMER_KEY FILE FILE...

Compare the checksum of SHA256SUMS with a copy that you keep elsewhere: `sha256sum SHA256SUMS`.
"""


def libraries_with_requirements() -> set[str]:
    """Return the libraries and what they require, by canonical names."""
    found: set[str] = set()
    waiting = list(LIBRARIES)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for line in requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def locked(names: set[str]) -> str:
    """Return the entries of requirements.lock with these names, with their hashes."""
    text = (CHECKOUT / "requirements.lock").read_text()
    entries = re.findall(r"^\S.*(?:\n    .*)*", text, re.MULTILINE)
    return "\n".join(
        entry for entry in entries if canonicalize_name(re.split(r"[=\[ ;]", entry)[0]) in names
    )


def build_kit(folder: Path, ours: Sequence[Path]) -> None:
    """Make the folder. ``ours``: the wheels custody and custody-client."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    for wheel in ours:
        shutil.copy(wheel, wheels)
    lock = folder / "libraries.lock"
    lock.write_text(locked(libraries_with_requirements()) + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    # `wheel`, not `download`: embit has no wheel at the index, so pip builds one.
    build = ["wheel", "--no-deps", "--require-hashes", "--requirement", str(lock)]
    subprocess.run([*pip, *build, "--wheel-dir", str(wheels)], check=True)
    lock.unlink()
    page = FORMAT_PAGE.read_text()
    shutil.copy(FORMAT_PAGE, folder)
    (folder / "recover.py").write_text(script_of(page))
    readme = README.format(
        version=version("custody"),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        platform=f"{platform.system()} {sysconfig.get_platform().rpartition('-')[2]}",
    )
    (folder / "README.md").write_text(readme)
    (folder / "SHA256SUMS").write_text(_checksums(folder))


def script_of(page: str) -> str:
    """Return the script that docs/reference/layer4.md contains."""
    (script,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return str(script)


def _checksums(folder: Path) -> str:
    """Return what `sha256sum --check` reads."""
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )


def main() -> None:
    ours = [*(CHECKOUT / "dist").glob("custody-*.whl"), *CHECKOUT.glob("dist/custody_client-*.whl")]
    shutil.rmtree(KIT, ignore_errors=True)
    build_kit(KIT, ours)
    size = sum(path.stat().st_size for path in KIT.rglob("*") if path.is_file())
    print(f"wrote {KIT.relative_to(CHECKOUT)}, {size / 1e6:.0f} MB")  # noqa: T201


if __name__ == "__main__":
    main()

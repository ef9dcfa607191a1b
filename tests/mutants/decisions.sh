#!/usr/bin/env bash
# `make mutmut`: let mutmut change everything in the modules that decide, in a copy of the checkout, and
# list the changes that neither mypy nor a unit test notices. About ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
copy=build/mutmut
mutmut=$PWD/build/audit/bin/mutmut
PATH=$PWD/.venv/bin:$PATH

rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z | tar --create --null --files-from=- | tar --extract --directory="$copy"
cp mpc/_native*.so "$copy/mpc/"
# The packages of the tests, without the link to this checkout: a .pth file in PYTHONPATH is not read.
PYTHONPATH=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
export PYTHONPATH
cd "$copy"
cat >setup.cfg <<'END'
[mutmut]
source_paths=
    custody/node/authentication.py
    custody/node/decisions.py
    custody/control_plane/jobs/transitions.py
    custody/control_plane/conductor/planning/
pytest_add_cli_args_test_selection=
    tests/unit/node/test_decisions.py
    tests/unit/node/test_freeze.py
    tests/unit/control_plane/
# mutmut's own calls return Any, and its module is not in our environment
type_check_command=
    mypy
    custody/node/authentication.py
    custody/node/decisions.py
    custody/control_plane/jobs/transitions.py
    custody/control_plane/conductor/planning/
    --output
    json
    --disable-error-code
    import-not-found
    --disable-error-code
    no-any-return
    --disable-error-code
    misc
    --disable-error-code
    unused-ignore
    --disable-error-code
    untyped-decorator
also_copy=
    custody
    mpc
    hsm_driver
    devstack
    softhsm
    tests
    docs
    pyproject.toml
END
nice "$mutmut" run --max-children 2 | tail -n 1 | tr '\r' '\n' | tail -n 1
echo "Not noticed ($mutmut show NAME, in $copy, shows the change):"
"$mutmut" results | grep -v "caught by type check" || true

#!/usr/bin/env bash
# Installs missing packages on a Debian machine, and makes .venv. Quick if nothing is missing.
#
# Run it as root, or as a user with sudo. PYTHON names the interpreter to use.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $1"; say "  -> $2"; exit 1; }

# --- Debian packages --------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "this user is not root, and sudo is not installed" "run as root: $*"
    fi
}

is_usable_python() { # 3.11 to 3.13, with the modules that a virtual environment needs
    "$1" -c 'import ctypes, ensurepip, ssl, sys, venv
sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 /usr/bin/python3 python3.13 python3.12 python3.11}; do
        if is_usable_python "$candidate"; then command -v "$candidate"; return; fi
    done
    return 1
}

is_postgresql_there() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null
}

has_libclang() {
    compgen -G '/usr/lib/*/libclang-[0-9]*.so*' >/dev/null || compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null
}

missing_packages() {
    command -v softhsm2-util >/dev/null || echo softhsm2
    command -v pkcs11-tool >/dev/null || echo opensc
    is_postgresql_there || echo postgresql
    command -v age >/dev/null || echo age
    command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || echo pgbouncer
    find_python >/dev/null || echo python3 python3-venv
    command -v cc >/dev/null || echo gcc libc6-dev # Rust links with it
    has_libclang || echo libclang1 # Kryoptic, a token of the tests, is built with it
    command -v make >/dev/null && command -v perl >/dev/null || echo make perl
}

install_packages() {
    local packages
    packages=$(missing_packages | xargs)
    [ -n "$packages" ] || return 0
    command -v apt-get >/dev/null ||
        die "this machine lacks: $packages" "install them with this system's package manager"
    say "installing Debian packages: $packages"
    local log=$checkout/build/apt.log
    # shellcheck disable=SC2086  # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get update -q && apt-get install -q -y --no-install-recommends "$@"' sh $packages \
        >"$log" 2>&1 || { tail -n 15 "$log" >&2; die "apt-get failed; its whole output: $log" "correct the fault that apt-get reports"; }
    packages=$(missing_packages | xargs)
    [ -z "$packages" ] || die "still missing after apt-get: $packages" \
        "install SoftHSM 2, OpenSC, age, PostgreSQL, PgBouncer and Python 3.11 to 3.13 with venv (PYTHON=/path/to/python3)"
}

# --- The S3 server of tests and demo ------------------------------------------------------------

S3_SERVER=v1.8.0 # of versitygw, a Go module
s3_folder=$checkout/build/versitygw/$S3_SERVER

install_s3_server() { # compiles for some minutes when Go's build cache is empty
    [ ! -x "$s3_folder/versitygw" ] || return 0
    PATH="$PATH:/usr/local/go/bin"
    command -v go >/dev/null || die "Go is missing" "install Go 1.25 or later: the S3 server versitygw is a Go module"
    say "compiling the S3 server versitygw (the first time takes a minute or two)"
    GOBIN=$s3_folder nice go install "github.com/versity/versitygw/cmd/versitygw@$S3_SERVER" \
        >"$checkout/build/versitygw.log" 2>&1 ||
        { tail -n 15 "$checkout/build/versitygw.log" >&2; die "go install failed" "correct the fault that go reports"; }
}

# --- Python packages --------------------------------------------------------------------------

fingerprint() { # prints everything that determines the contents of .venv
    cat requirements-dev.lock requirements.lock pyproject.toml .cargo/config.toml
    find mpc/native -type f ! -name '*.md' ! -name '*.pyc' -print0 | sort -z | xargs -0 cat
    echo "$checkout"
    .venv/bin/python --version
}

is_environment_current() {
    [ -x .venv/bin/python ] && [ -f .venv/stamp ] && [ -f mpc/_native.abi3.so ] &&
        [ "$(fingerprint 2>/dev/null | sha256sum)" = "$(cat .venv/stamp)" ]
}

make_environment() {
    is_usable_python .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1 ||
        "$(find_python)" -m venv --clear .venv
    rm -f .venv/stamp
    local pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet)
    say "installing Python packages into .venv"
    "${pip[@]}" install --require-hashes -r requirements-dev.lock
    .venv/bin/python mpc/native/backend.py # fails with advice if Rust is missing
    say "compiling the MPC protocols (the first time takes a minute or two)"
    "${pip[@]}" install --no-deps --no-build-isolation -e .
    fingerprint | sha256sum >.venv/stamp
}

mkdir -p build
exec 9>build/bootstrap.lock
flock 9 # one run at a time: later runs find everything installed
install_packages
install_s3_server &
s3_server=$!
is_environment_current || make_environment
wait "$s3_server"

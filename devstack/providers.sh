#!/usr/bin/env bash
# Builds PKCS#11 modules of the tests (tests/providers) into build/providers: faulty, or those named.
# Kryoptic needs libclang (Debian: libclang1) and Perl, and some minutes.
#
# A built module stays in ~/.cache/custody under the hash of its sources, for other checkouts too.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:$HOME/.cargo/bin"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/custody/providers

fingerprint() { # prints the hash of everything that determines the module of crate $1
    { find "tests/providers/$1" -type f \( -name '*.rs' -o -name '*.sh' -o -name '*.toml' -o -name 'Cargo.lock' \) \
        -print0 | sort -z | xargs -0 cat
      rustc --version --verbose; } | sha256sum | cut -c 1-32
}

build() { # crate $1 makes the library $2
    local cached
    exec 9>"build/providers/$1.lock"
    flock 9 # one run at a time: later runs find the module built
    cached=$cache/$1-$(fingerprint "$1")/$2
    if [ ! -f "$cached" ]; then
        echo "compiling the PKCS#11 module $1 of the tests" >&2
        (cd "tests/providers/$1" && nice cargo build --release --locked --quiet --target-dir "$OLDPWD/build/providers/$1")
        mkdir -p "$(dirname "$cached")"
        cp "build/providers/$1/release/$2" "$cached.$$"
        mv "$cached.$$" "$cached"
        rm -rf "build/providers/$1"
    fi
    ln -sfn "$cached" "build/providers/$2"
}

mkdir -p build/providers
[ "$#" -gt 0 ] || set -- faulty
for crate; do
    case $crate in
        faulty) build faulty libfaulty_pkcs11.so ;;
        kryoptic) # bindgen has libclang without the headers of Clang: those of the C compiler do
            BINDGEN_EXTRA_CLANG_ARGS="-isystem $(cc -print-file-name=include)" build kryoptic libkryoptic.so ;;
        *) echo "error: tests/providers has no crate $crate" >&2; exit 2 ;;
    esac
done

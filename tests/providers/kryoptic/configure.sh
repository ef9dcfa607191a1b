#!/bin/sh
# Runs OpenSSL's Configure without the parts that a token does not need, which the build would compile.
exec perl "$@" no-apps no-docs no-deprecated no-engine no-http no-multiblock no-ssl-trace \
    no-cmp no-cms no-ct no-ocsp no-ts no-dgram no-dtls no-quic no-psk no-srp no-tls1 no-tls1_1 \
    no-aria no-bf no-cast no-gost no-mdc2 no-rc2 no-rc4 no-rmd160 no-scrypt no-siphash \
    no-sm2 no-sm3 no-sm4 no-whirlpool no-ml-dsa no-ml-kem no-slh-dsa

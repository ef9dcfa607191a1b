#!/usr/bin/env bash
# Unpacks promtool into build/promtool, from Debian's package of Prometheus. Installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$PWD/build/promtool

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

rm -rf "$folder"
mkdir -p "$folder/download"
cd "$folder/download"
apt-get download -q prometheus >download.log 2>&1 || {
    as_root apt-get update -q >>download.log 2>&1
    apt-get download -q prometheus >>download.log 2>&1
} || { tail -n 15 download.log >&2; echo "error: cannot download Debian's package prometheus" >&2; exit 1; }
dpkg-deb --extract prometheus_*.deb "$folder"
rm -rf "$folder/download"

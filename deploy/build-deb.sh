#!/usr/bin/env bash
# Builds the Debian package in build/deb: fetches the wheels that requirements/node.txt pins, lays
# out a source tree, and has dpkg-buildpackage build it without a network. PATH leads to the .venv.
set -euo pipefail
cd "$(dirname "$0")/.."

changelog() { dpkg-parsechangelog --file deploy/debian/changelog --show-field "$1"; }

# The package's Python is the system's, whichever one runs pip.
python=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
tree=build/deb/ledgerd-$(changelog Version)
SOURCE_DATE_EPOCH=$(changelog Timestamp)
export SOURCE_DATE_EPOCH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP="$PWD/.venv/bin/python -m pip"

rm -rf build/deb
mkdir -p "$tree/wheels"
$PIP download -q --require-hashes --only-binary=:all: --python-version "$python" --no-deps \
  --requirement requirements/node.txt --dest "$tree/wheels"
$PIP wheel -q --no-deps --no-build-isolation --wheel-dir "$tree/wheels" ./client .
cp -r deploy docs README.md requirements/node.txt "$tree/"
mv "$tree/deploy/debian" "$tree/"
cp deploy/sysusers.conf "$tree/debian/ledgerd.sysusers"
cp deploy/tmpfiles.conf "$tree/debian/ledgerd.tmpfiles"
cd "$tree"
dpkg-buildpackage --build=binary --unsigned-changes

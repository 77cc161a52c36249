#!/usr/bin/env bash
# Builds what is released of the commit that is checked out: sdists and wheels of both distributions,
# an SBOM (CycloneDX) of what a node runs with, and SHA256SUMS. Twice the same commit is twice the
# same bytes. Needs git, and PATH leading to the .venv.
#
# The Debian package is not of it: it is for one Debian and one processor, and its wheels come from a
# package registry, where this needs none. `make deb` builds it, on each machine that it is to be for.
#
# usage: build-release.sh [DIRECTORY]   build/release by default; it is made anew
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC
out=$(realpath -m "${1:-$(dirname "$0")/../build/release}")
cd "$(dirname "$0")/.."
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
# Of the commit, not of the directory: nothing that only lies there is released.
git archive HEAD | tar -x -C "$tree"

rm -rf "$out"
mkdir -p "$out"
for project in "$tree/client" "$tree"; do
  (cd "$project" && python -m hatchling build -t sdist -t wheel -d "$out" >/dev/null)
done
rm -f "$out/.gitignore"
cyclonedx-py requirements "$tree/requirements/node.txt" --pyproject "$tree/pyproject.toml" \
  --output-reproducible --short-PURLs --output-format JSON --output-file "$out/ledgerd.cdx.json"
(cd "$out" && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)

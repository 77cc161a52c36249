#!/usr/bin/env bash
# The SDK in an environment of its own: whoever checks the ledger need not install what writes it.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/build/client-venv
requirements=requirements/client-test.txt
stamp=$venv/requirements.sha256
# -P: the current directory is not importable, or the checkout would provide the daemon.
python() { "$venv/bin/python" -P "$@"; }
install() { python -m pip install -q --disable-pip-version-check "$@"; }

wanted=$(sha256sum <"$requirements")
if [[ $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
  python3 -m venv --clear "$venv"
  install --require-hashes -r "$requirements"
  echo "$wanted" >"$stamp"
fi
install --no-deps --no-build-isolation --force-reinstall ./client

python -c 'import ledgerd_client'
for absent in ledgerd lmdb cryptography opentelemetry typer; do
  if python -c "import $absent" 2>/dev/null; then
    echo "client-only: the SDK's environment must not provide $absent" >&2
    exit 1
  fi
done
python -m pytest -q -p no:cacheprovider tests/core tests/client

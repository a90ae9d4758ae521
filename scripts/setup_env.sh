#!/usr/bin/env bash
# Makes .venv in the repository and installs the pinned packages, or reuses it when they are there.
# Called by demo.sh, and by test.sh as `setup_env.sh dev`, which adds what only the checks need;
# by hand: bash scripts/setup_env.sh && source .venv/bin/activate
# ALIGNDIFF_PYTHON=/path/to/python chooses the interpreter. Needs Python >= 3.11.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kind=${1:-run}
case $kind in
  run) requirements=(requirements.txt) size="1.4 GB, with the CUDA build of torch 5 GB" ;;
  dev) requirements=(requirements.txt requirements-dev.txt) size="2.1 GB, with CUDA 6 GB" ;;
  *) echo "error: setup_env.sh takes 'dev' or nothing, not '$kind'" >&2 && exit 2 ;;
esac
# What the stamp of this kind must hold: a checksum of the wanted packages.
stamp=.venv/aligndiff-installed-$kind
wanted=$(cat "${requirements[@]}" constraints.txt | cksum)

fail() {
  echo "error: $1" >&2
  exit 2
}

is_new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# True when the interpreter can make a virtual environment with pip in it.
makes_venv() {
  "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

# Prints the first interpreter that is new enough and can make a virtual environment.
find_python() {
  local name
  for name in ${ALIGNDIFF_PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if is_new_enough "$name" && makes_venv "$name"; then
      echo "$name"
      return
    fi
  done
  return 1
}

# A fresh Debian or Ubuntu has no venv, or no Python at all; as root we can help ourselves.
install_system_python() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  echo "setup: installing python3 and python3-venv with apt-get ..."
  {
    apt-get -qq update &&
      DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        python3 python3-venv
  } >/dev/null
}

explain_missing_python() {
  local name
  [ -z "${ALIGNDIFF_PYTHON:-}" ] ||
    fail "ALIGNDIFF_PYTHON=$ALIGNDIFF_PYTHON is no Python >= 3.11 with venv and ensurepip"
  for name in python3.11 python3.12 python3.13 python3; do
    if is_new_enough "$name"; then
      fail "$name cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"
    fi
  done
  fail "no Python >= 3.11 found; install one, or name it with ALIGNDIFF_PYTHON=/path/to/python"
}

venv_works() {
  [ -x .venv/bin/python ] && is_new_enough .venv/bin/python &&
    .venv/bin/python -m pip --version >/dev/null 2>&1
}

make_venv() {
  local python
  python=$(find_python) || { install_system_python && python=$(find_python); } ||
    explain_missing_python
  echo "setup: making .venv with $("$python" --version) ..."
  "$python" -m venv --clear .venv || fail "could not make .venv with $python"
}

if venv_works && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
  exit 0
fi
venv_works || make_venv
rm -f "$stamp"
echo "setup: installing packages into .venv ($size) ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
  "${requirements[@]/#/--requirement=}" -c constraints.txt ||
  fail "pip could not install the packages (its message is above); is the package index reachable?"
echo "$wanted" >"$stamp"
echo "setup: done in $SECONDS s"

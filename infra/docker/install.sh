#!/bin/sh
# Rollcall in an environment of its own, with exactly the packages of a lock. Images run these steps; so does a test, without an engine.
#
#   install.sh packages LOCK TARGET    an environment in TARGET with the locked packages; needs no source code: a layer that seldom changes
#   install.sh program TARGET          the program itself, from the checkout that this file lies in
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
step=$1
case $step in
packages)
    lock=$2 target=$3
    python3 -m venv "$target"
    "$target/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r "$here/$lock"
    ;;
program)
    target=$2
    "$target/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation "$here"
    ;;
*)
    echo "install.sh: packages LOCK TARGET, or program TARGET" >&2
    exit 2
    ;;
esac

#!/bin/sh
# The image's install steps without an engine: into a fresh folder, from the files that an image gets, with the lock that is named
# (requirements/serve.lock); then the program that they give says its version and looks about. Needs a package registry and two minutes.
set -eu
lock=${1:-requirements/serve.lock}
here=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/source"
cd "$here"
git ls-files --cached --others --exclude-standard -- LICENSE README.md pyproject.toml requirements asd_core flows infra rollcall tasks |
    while read -r name; do if [ -e "$name" ]; then echo "$name"; fi; done | tar -c -T - | tar -x -C "$folder/source"
cd "$folder"
sh source/infra/docker/install.sh packages "$lock" "$folder/opt"
sh source/infra/docker/install.sh program "$folder/opt"
rm -rf source
"$folder/opt/bin/python" -m pip check
run() { env -i PATH="$folder/opt/bin:$PATH" ROLLCALL_HOME="$folder/home" LANG=C.UTF-8 "$@"; }
run rollcall --version
run prefect version | head -n 1
case $lock in *gpu*) echo "installed; what needs a GPU was not run" && exit 0 ;; esac
run rollcall doctor
run rollcall people
run python -c "from asd_core.models.manifest import WEIGHTS; assert list(WEIGHTS.glob('*.onnx')), 'weights are not packaged'"
echo "the image's install steps work"

#!/usr/bin/env bash
# For machines without a network, such as the nodes of a cluster. Where there is one:
#
#     cluster/wheels.sh          downloads all that the set-up installs into cluster/wheels
#     cluster/wheels.sh cpu      with a CPU build of torch (PIP_EXTRA_INDEX_URL says from where)
#
# Take the folder along. There, with the same Python and processor,
#
#     PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/cluster/wheels make setup
#
# which is what cluster/slurm/notebook.sbatch does when it finds the folder.
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-python3}" wheels=cluster/wheels
mkdir -p "$wheels"
trap 'rm -f "$wheels/constraints.txt" "$wheels/requirements.txt"' EXIT
sed "${1:+s/^torch==.*/&+$1/}" constraints.txt > "$wheels/constraints.txt"
"$python" - > "$wheels/requirements.txt" << 'END'
import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
print("pip", "setuptools", sep="\n")  # which build labkit itself
print(*project["dependencies"], *project["optional-dependencies"]["test"], sep="\n")
END
"$python" -m pip download -q -d "$wheels" \
    -c "$wheels/constraints.txt" -r "$wheels/requirements.txt"
echo "$(find "$wheels" -name '*.whl' | wc -l) wheels are in $wheels"

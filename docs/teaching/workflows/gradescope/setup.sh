#!/usr/bin/env bash
# Gradescope runs this once, when the autograder's image is built. The zip for Gradescope holds this
# file, run_autograder, and the teacher's copy of the lab as lab/, with course.toml beside it.
set -euo pipefail
apt-get update
apt-get install -y make python3 python3-venv
make -C /autograder/source/lab setup

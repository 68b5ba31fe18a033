"""Makes the virtual environment that every `make` target uses, once, and refuses what cannot work.

    python3 .ci/environment.py            .venv, with exactly the versions of constraints.txt
    python3 .ci/environment.py cpu        the same, but only with a CPU build of torch
    python3 .ci/environment.py system     .venv-system, around the torch that this python has

Standard library only, and no newer syntax than Python 3.6 has, so that an old Python reads as far
as the sentence that refuses it.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)  # pyproject.toml's requires-python; tests/test_repository.py holds them together
OLDEST_TORCH = (2, 11)
MODES = ("pinned", "cpu", "system")


class Refused(Exception):
    """A sentence that says what cannot work and what to do."""


def check_platform(name, version):
    """Raises Refused where sys.platform `name` or sys.version_info `version` is no good."""
    if name in ("win32", "cygwin", "msys"):
        raise Refused(
            "labkit runs on Linux and macOS: on Windows use WSL2 (in PowerShell: wsl --install), "
            "or open this folder in VS Code and choose 'Reopen in Container'."
        )
    if tuple(version[:2]) < OLDEST:
        raise Refused(
            "labkit needs Python 3.11 or newer and found {}.{}: install one, or name it, "
            "for example `make PYTHON=python3.12 lab`.".format(*version[:2])
        )


def newer_python():
    """The first python3.x on PATH that is new enough, for machines whose `python3` is old."""
    for minor in (12, 13, 11, 14):
        found = shutil.which(f"python3.{minor}")
        if found and subprocess.call([found, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            return found
    return None


def digest(mode):
    """Changes when anything does that the environment was made from."""
    parts = [platform.python_version(), sys.prefix, str(ROOT), os.environ.get("PYTHONPATH", "")]
    names = ("pyproject.toml", "constraints.txt", ".ci/environment.py")
    texts = [(ROOT / name).read_bytes() for name in names]
    if mode == "system":
        texts.append(own_torch().encode())
    return hashlib.sha256(b"\0".join([p.encode() for p in parts] + texts)).hexdigest()


def own_torch():
    """The version of the torch that this python has; empty without one."""
    from importlib import metadata  # Python 3.8: after check_platform

    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""


def main(wish):
    check_platform(sys.platform, sys.version_info)
    if wish not in ("", *MODES):
        raise Refused(f"TORCH={wish} is unknown: leave it away, or take cpu or system.")
    venv = ROOT / (".venv-system" if wish == "system" else ".venv")
    stamp = venv / "labkit-stamp"
    made = stamp.read_text().split() if stamp.exists() else ["", "pinned"]
    mode = wish or made[1]  # who once chose the CPU build keeps it without saying so again
    wanted = [digest(mode), mode]
    if made == wanted and (venv / "bin" / "python").exists():
        return
    if stamp.exists():
        stamp.unlink()  # an installation that is cut short is begun again
    make_venv(venv, mode)
    if mode == "system":
        install_around_system_torch(venv)
    else:
        install_pinned(venv, mode)
    stamp.write_text(" ".join(wanted))


def make_venv(venv, mode):
    python = venv / "bin" / "python"
    if not python.exists() or python_version(python) != platform.python_version():
        options = ["--clear"] + (["--system-site-packages"] if mode == "system" else [])
        command = [sys.executable, "-m", "venv", *options, str(venv)]
        if subprocess.call(command) != 0:
            raise Refused(
                "No virtual environment could be made (the message above says why); on Debian "
                "and Ubuntu `apt install python3-venv` brings what is missing."
            )
    if mode == "system":
        show_system_packages(venv)


def show_system_packages(venv):
    """Makes the environment see what this python sees, and nothing older in its place."""
    # Python 3.11 puts a setuptools of its own into every new environment.
    command = [str(venv / "bin" / "python"), "-m", "pip", "uninstall", "-qqy", "setuptools"]
    site = next((venv / "lib").glob("python3*")) / "site-packages"
    if list(site.glob("setuptools-*")):
        subprocess.run(command, check=True)
    if sys.prefix != sys.base_prefix:
        # venv hands down the packages of the base Python only: a parent environment's need a line.
        parents = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
        (site / "parent_environment.pth").write_text("\n".join(parents) + "\n")


def python_version(python):
    answer = subprocess.run(
        [str(python), "-c", "import platform; print(platform.python_version())"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return answer.stdout.decode().strip()


def install_pinned(venv, mode):
    constraints = ROOT / "constraints.txt"
    if mode == "cpu" and sys.platform != "darwin":  # Apple's builds have no CUDA and no "+cpu"
        lines = constraints.read_text().splitlines()
        constraints = venv / "constraints-cpu.txt"
        lines = [line + "+cpu" if line.startswith("torch==") else line for line in lines]
        constraints.write_text("\n".join(lines) + "\n")
    print(f"Installing the packages of constraints.txt into {venv.name}: a minute or")
    print("more, and a download of 0.4 GB with a CPU build of torch, 3 GB with CUDA.", flush=True)
    pip(venv, constraints, "pip")
    if pip(venv, constraints, "-e", str(ROOT) + "[test]", check=False) != 0:
        raise Refused(
            "pip could not install the packages (its message above says why)."
            + " Your package index has no CPU build of this torch: set PIP_EXTRA_INDEX_URL to"
            " PyTorch's index of CPU builds, which pytorch.org names under 'Get Started'."
            * (mode == "cpu")
        )


def install_around_system_torch(venv):
    """Installs all else; torch and what it requires stay as they are, also where pins differ."""
    kept = torch_and_what_it_needs(venv)
    if "torch" not in kept:
        raise Refused(
            f"TORCH=system, but {sys.executable} has no torch: start the container or load the "
            "module that has it, or leave TORCH=system away."
        )
    version = kept["torch"]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_TORCH:
        raise Refused(
            "labkit needs torch {}.{} or newer and {} has {}: take a newer container or module, "
            "or leave TORCH=system away.".format(*OLDEST_TORCH, sys.executable, version)
        )
    keep, derived = venv / "constraints-torch.txt", venv / "constraints-system.txt"
    write_constraints(kept, keep, derived)
    print(f"Installing into {venv.name} around torch {version}", flush=True)
    requirements = [r for r in project_requirements() if re.match(r"[\w.-]+", r)[0] != "torch"]
    pip(venv, ROOT / "constraints.txt", "pip")
    if pip(venv, derived, *requirements, check=False) != 0:
        print(
            "The exact versions of constraints.txt do not fit what this torch requires: "
            "taking the newest that do.",
            flush=True,
        )
        pip(venv, keep, *requirements)
    # torch is not asked for, so that pip has no say in it; 2.11.0a0, as vendors number their
    # builds, would not even satisfy "torch>=2.11".
    pip(venv, keep, "--no-deps", "-e", str(ROOT))
    if "jupyterlab" in requirements:
        # A kernel that the system has would start the system's python, which has no labkit.
        kernel = ["-m", "ipykernel", "install", "--sys-prefix", "--name", "python3"]
        command = [str(venv / "bin" / "python"), *kernel]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    now = torch_and_what_it_needs(venv)
    changed = sorted(name for name in kept if now.get(name) != kept[name])
    if changed:
        raise Refused(f"pip changed what torch requires: {changed}. Please report it.")


def write_constraints(kept, keep, derived):
    """`keep` pins what torch requires as it is; `derived` adds our pins for everything else."""
    pins = [f"{name}=={kept[name]}" for name in sorted(kept)]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    ours = [line for line in lines if plain(line.split("==")[0]) not in kept]
    keep.write_text("\n".join(pins) + "\n")
    derived.write_text("\n".join(pins + ours) + "\n")


def plain(name):
    """A package's name as the index compares it: typing_extensions is typing-extensions."""
    return name.strip().lower().replace("_", "-").replace(".", "-")


def project_requirements():
    import tomllib  # Python 3.11: after check_platform

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["dependencies"] + project["optional-dependencies"]["test"]


# Runs in the new environment, whose pip brings the parser of requirements that this needs. numpy
# is torch's bridge to buffers: torch lists it nowhere, and a build may depend on its version.
CLOSURE = """
import importlib.metadata as metadata, json
from pip._vendor.packaging.requirements import Requirement
found, waiting = {}, [("torch", ""), ("numpy", "")]
seen = set(waiting)
while waiting:
    name, extra = waiting.pop()
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        continue
    found[name] = distribution.version
    for line in distribution.requires or []:
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate({"extra": extra}):
            plain = need.name.lower().replace("_", "-").replace(".", "-")
            for item in [(plain, "")] + [(plain, e) for e in need.extras]:
                if item not in seen:
                    seen.add(item)
                    waiting.append(item)
print(json.dumps(found if "torch" in found else {}))
"""


def torch_and_what_it_needs(venv):
    """{name: version} of torch, of all that it requires, and of numpy, as seen in `venv`."""
    command = [str(venv / "bin" / "python"), "-c", CLOSURE]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(answer.stdout.decode())


def pip(venv, constraints, *arguments, check=True):
    """`pip install` under the constraints, also for the back end that builds labkit itself."""
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "-c", str(constraints)]
    if arguments[0] != "pip":  # the pip that came with Python may be too old for the option
        command += ["--build-constraint", str(ROOT / "constraints.txt")]
    if not sys.stdout.isatty():
        command.append("-qq")  # errors alone
    settings = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_USER="0")
    status = subprocess.call(command + list(arguments), env=settings)
    if status != 0 and check:
        raise Refused("pip could not install the packages (its message above says why).")
    return status


if __name__ == "__main__":
    try:
        if sys.version_info < OLDEST and newer_python():
            os.execv(newer_python(), [newer_python(), *sys.argv])
        main(sys.argv[1] if len(sys.argv) > 1 else "")
    except Refused as refused:
        sys.exit(str(refused))
    except KeyboardInterrupt:
        sys.exit("Interrupted: the next make goes on where this one stopped.")

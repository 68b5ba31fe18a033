"""Walls: what code in a jail finds around itself, and what becomes of it."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path, PurePath

import msgspec
import psutil
import pytest
import torch

from labkit.grading import room
from labkit.grading.calls import StudentError
from labkit.grading.inside import seccomp
from labkit.grading.inside.channel import Ended, Late
from labkit.grading.jail import Cell, Zygote

FILTERED = pytest.mark.skipif(seccomp.machine() is None, reason="needs seccomp")


def ask(zygote, code, *arguments, seconds=10.0, **options):
    """The value of `f(*arguments)`, defined by `code`, in a jail."""
    with zygote.jail(Cell("made.1", code, "f"), seconds, **options) as function:
        return function(*arguments)


def test_values_go_in_and_out(zygote):
    code = "def f(a, b):\n    print('seen', b)\n    return {a: (b, None)}"
    with zygote.jail(Cell("made.1", code, "f"), 10) as function:
        assert function("x", [1.5]) == {"x": ([1.5], None)}
        assert function(2, b"") == {2: (b"", None)}
    assert function.text == b"seen [1.5]\nseen b''\n"


def test_what_is_written_into_tensors_comes_back(zygote):
    tensor = torch.arange(4.0)
    ask(zygote, "def f(parts):\n    parts[1] *= 2", list(tensor.split(2)))
    assert tensor.tolist() == [0, 1, 4, 6]


def test_an_error_tells_its_line_and_nothing_of_the_jail(zygote):
    with pytest.raises(StudentError) as found:
        ask(zygote, "def f():\n    x = 1\n    return x / 0")
    assert found.value.kind == "ZeroDivisionError"
    assert found.value.lines == ["line 3, return x / 0"]
    with pytest.raises(StudentError, match="SyntaxError"):
        ask(zygote, "def f(:")
    with pytest.raises(StudentError, match="does not define f"):
        ask(zygote, "def g():\n    pass")


def test_no_room_with_answers_is_there(zygote):
    """Neither on the path, nor in memory."""
    code = """
import importlib, sys
def f(names):
    found = [name for name in sys.modules if name.startswith("labkit")]
    for name in names:
        try:
            importlib.import_module(name)
            found.append("imported " + name)
        except ImportError:
            continue
    return sorted(found)
"""
    rooms = (
        "checks collectives.ring protocols.raft.election protocols.two_phase_commit.participant "
        "simulator runtime training grading.exercise"
    )
    found = ask(zygote, code, [f"labkit.{name}" for name in rooms.split()])
    assert [name for name in found if name.startswith("imported")] == []
    there = [PurePath("labkit", name).with_suffix("") for name in room.ROOM]
    allowed = {".".join(path.parts) for path in there}
    packages = {".".join(folder.parts) for path in there for folder in path.parents} | {"labkit"}
    for name in set(found) - packages - {"labkit.__init__"}:
        assert any(name == a or name.startswith(a + ".") for a in allowed), name


def test_the_environment_and_the_user_are_not_the_graders(zygote, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    code = """
import os
def f():
    return dict(os.environ), os.getuid(), os.getcwd(), os.listdir("/")
"""
    environment, uid, home, listed = ask(zygote, code)
    assert "SECRET" not in environment
    environment.pop("LC_CTYPE", None)  # Python's own doing
    assert environment == room.environment()
    if os.geteuid() == 0:
        assert uid != 0
    if zygote.level == "namespace":
        assert home == "/home/student"
        assert set(listed) <= {"dev", "home", "lib", "lib64", "proc", "root", "tmp", "usr"} | {
            path.split("/")[1] for path in zygote.readable
        }


@FILTERED
def test_only_its_home_is_writable(zygote):
    code = """
import os
def f(places):
    wrote = []
    for place in places:
        try:
            with open(place + "/x", "wb") as file:
                file.write(b"x")
            wrote.append(place)
        except OSError:
            continue
    try:
        with open("large", "wb") as file:
            for _ in range(200):
                file.write(bytes(1 << 20))
        wrote.append("200 MiB")
    except OSError:
        pass
    return wrote
"""
    places = [".", "/", "/tmp", "/usr", "/dev/shm", "/proc/self", str(zygote.folder / "room")]
    wanted = ["."] if zygote.level == "namespace" else []
    assert ask(zygote, code, places) == wanted
    assert ask(zygote, code, places) == wanted  # of what was written, nothing is left


def test_ranks_have_gloo_between_them(zygote):
    code = """
def f(link, part):
    given = part.clone()
    link.transfer(sends=[(given, link.right)], receives=[(part, link.left)]).wait()
    return link.size
"""
    parts = [torch.full((3,), float(rank)) for rank in range(3)]
    with zygote.jail(Cell("made.1", code, "f"), 20, ranks=3, network=True) as function:
        assert function.on_ranks([(part,) for part in parts]) == [3, 3, 3]
    assert [part[0].item() for part in parts] == [2, 0, 1]


def test_a_rank_that_fails_over_gloo_is_named_before_the_deadline(zygote):
    code = """
def f(link):
    if link.rank == 1:
        raise ValueError("rank 1 gives up")
    import torch
    link.receive(torch.zeros(1), 1)
"""
    begin = time.monotonic()
    with (
        pytest.raises(StudentError, match="rank 1 gives up"),
        zygote.jail(Cell("made.1", code, "f"), 20, ranks=2, network=True) as function,
    ):
        function.on_ranks([(), ()])
    assert time.monotonic() - begin < 10


def test_a_jail_is_over_at_its_deadline_and_leaves_nothing(zygote):
    spinning = "import threading\ndef f():\n    threading.Thread(target=f).start()\n    f()"
    before = descendants(zygote)
    begin = time.monotonic()
    with pytest.raises(Late):
        ask(zygote, "def f():\n    while True: pass", seconds=0.3)
    with pytest.raises((StudentError, Ended, Late)):
        ask(zygote, spinning, seconds=1)
    assert time.monotonic() - begin < 8
    assert descendants(zygote) == before


def test_how_a_process_ended_is_known(zygote):
    with zygote.jail(Cell("made.1", "import os\ndef f():\n    os._exit(7)", "f"), 10) as function:
        with pytest.raises(Ended):
            function()
        assert function.why_ended() == "it ended with status 7"


def descendants(zygote):
    found = psutil.Process(zygote.process.pid).children(recursive=True)
    return [p.pid for p in found if p.status() != psutil.STATUS_ZOMBIE]


DRIVER = """
import sys
from labkit.grading.jail import Cell, Zygote
zygote = Zygote("auto")
jailed = zygote.jail(Cell("made.1", "def f():\\n    while True: pass", "f"), 600)
jailed.channels[0].send("call", [])
print(zygote.process.pid, zygote.folder, flush=True)
sys.stdin.read()
"""


def test_a_grader_that_is_killed_leaves_no_jail():
    command = [sys.executable, "-c", DRIVER]
    driver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid, folder = driver.stdout.readline().split()
    mother = psutil.Process(int(pid))
    family = [mother, *mother.children(recursive=True)]
    assert len(family) >= 3
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    assert not Path(folder).exists()


@FILTERED
def test_without_namespaces_that_level_is_refused_and_auto_takes_the_other():
    """As in a container whose runtime refuses them: here a filter does it."""
    code = """
import ctypes, struct, sys
from labkit.grading.inside import seccomp
seccomp.KERNEL, others = "unshare 272 97", ("NEW_PROCESS", "SIGNALS", "OTHERS", "MEMORY")
for name in others:
    setattr(seccomp, name, "perf_event_open 298 241")
seccomp.CLONE = seccomp.CLONE3 = seccomp.TGKILL = seccomp.PRLIMIT = (None, None)
seccomp.OPENAT2 = (None, None)
seccomp.install(network=True, writing=True)
from labkit.grading.jail import Cell, JailError, Zygote
with Zygote("auto") as zygote:
    with zygote.jail(Cell("a.1", "def f(): return 3", "f"), 20) as f:
        print(zygote.level, f())
    try:
        zygote._choose("namespace")
    except JailError as error:
        print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    chosen, refused = found.stdout.splitlines()
    assert refused.startswith(
        "no jail of level namespace here: namespaces: Operation not permitted"
    )
    assert "--jail rlimit" in refused
    assert chosen == "rlimit 3"


def test_without_any_power_the_grader_uses_a_user_namespace():
    """An ordinary user: here root without its capabilities, since Python may be in root's home."""
    code = """
import ctypes, struct
header = struct.pack("=II", 0x20080522, 0)
assert ctypes.CDLL(None).capset(header, bytes(24)) == 0
from labkit.grading.jail import Cell, JailError, Zygote
try:
    zygote = Zygote("namespace")
except JailError as error:
    print("refused", error)
else:
    cell = Cell("a.1", "import os\\ndef f(): return os.listdir('/home')", "f")
    with zygote, zygote.jail(cell, 9) as f:
        print(zygote.level, f())
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    if found.stdout.startswith("refused"):
        pytest.skip(found.stdout.strip())
    assert found.stdout.strip() == "namespace ['student']", found.stderr


def test_a_filter_is_made_for_this_machine():
    for name in seccomp.AUDIT_ARCH:
        code = seccomp.program(name, network=False, writing=False, pid=1)
        assert len(code) % 8 == 0
        assert len(code) // 8 < 4096


def test_an_unknown_level_is_refused():
    from labkit.grading.jail import JailError

    with pytest.raises(JailError, match="no jail 'docker'"):
        Zygote("docker")


def test_a_grader_that_dies_with_an_answer_unread_leaves_no_folder_behind():
    zygote = Zygote("rlimit")
    zygote.control.sendall(msgspec.msgpack.encode(("rest",)))
    select.select([zygote.control], [], [], 10)

    zygote.control.close()

    zygote.process.wait(10)
    assert not zygote.folder.exists()

"""A hostile strategy folder over real processes: its desk, its runs, other processes are out of reach."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.live.status import SOCKET_NAME, TOKEN_NAME
from scalpdesk.strategies.registry import start_helper
from scalpdesk_strategies.isolation.confinement import (
    AUDIT_ARCHITECTURES,
    CALLS,
    CALLS_OPEN,
    FILES_OPEN,
    PORTS_OPEN,
    lacking,
    landlock_abi,
)
from scalpdesk_strategies.isolation.process import FolderLimits, FolderProcess
from scalpdesk_testing.kit.folders import event, folder
from scalpdesk_testing.kit.served_desk import served_desk

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason="this system cannot confine a process"),
    pytest.mark.enable_socket,
]
ATTEMPT = """
import asyncio, ctypes, fcntl, json, mmap, os, pathlib, resource, signal, socket, subprocess, sys, tempfile

LIBC = ctypes.CDLL(None, use_errno=True)
DESK, WATCHDOG = int(os.environ.get("DESK", 0)) or os.getppid(), int(os.environ.get("WATCHDOG", 0))


def call(number, *arguments):
    result = LIBC.syscall(*(ctypes.c_long(each) for each in (number, *arguments)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def ask(path, do):
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
        line.sendall(json.dumps({"do": do, "reason": "I am the operator"}).encode() + b"\\n")
        return line.recv(1_000)


def attempt(what):
    try:
        return {"got": repr(eval(what))[:300]}
    except BaseException as error:
        return {"refused": type(error).__name__}
"""
ANSWER = 'return attempt(event["payload"]["what"])'


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A desk with control socket and run, both below the folder of the strategy, and what lies beside."""
    home = tmp_path_factory.mktemp("home")
    made = folder(home, ANSWER, before=ATTEMPT, name="mine")
    (made / "helper").mkdir()
    (made / "helper" / "__init__.py").write_text("answer = 42\n")
    (made / "weights.csv").write_text("1,2\n")
    (made / ".env").write_text("TRADING_API_KEY=canary\n")
    (home / ".env").write_text("TRADING_API_KEY=canary\n")
    (home / "state").mkdir(mode=0o700)
    (home / "state" / "dashboard.json").write_text("canary")
    (made / "way-out").symlink_to(home)
    with served_desk(made / "records") as served:  # no name that a rule could know
        served.home, served.folder = home, made
        yield served


@pytest.fixture(scope="module")
def bystander():
    """Another process of the user, as the watchdog is."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def hostile(desk, bystander):
    """Evaluate an expression in the process of the folder."""
    limits = FolderLimits(time_limit_seconds=20.0, private_paths=(str(desk.home / "state"),))
    with FolderProcess(desk.folder, limits) as process:
        assert process.open_doors == ()
        yield lambda what: process.ask(event(what=what.format(**names(desk, bystander)))).messages[0]


def names(desk, bystander):
    return {
        "run": desk.run_dir,
        "socket": desk.run_dir / SOCKET_NAME,
        "token": desk.run_dir / TOKEN_NAME,
        "journal": next(desk.run_dir.glob("journal-*")),
        "home": desk.home,
        "mine": desk.folder,
        "pid": bystander.pid,
        "desk": os.getpid(),
    }


ATTACKS = {
    "the control socket": "ask('{socket}', 'resume')",
    "the socket by its folder": "(os.chdir('{run}'), ask('control.sock', 'flatten'))",
    "the token": "open('{token}').read()",
    "the journal": "open('{journal}', 'rb').read(8)",
    "a write to the journal": "open('{journal}', 'ab')",
    "a cut of the journal": "os.truncate('{journal}', 0)",
    "the end of the journal": "os.unlink('{journal}')",
    "a run of one's own": "os.mkdir('{run}-2')",
    "a rename": "os.rename('{run}', '{run}-2')",
    "a link to the journal": "os.link('{journal}', os.environ['TMPDIR'] + '/mine')",
    "the journal by a link": "(os.symlink('{journal}', os.environ['TMPDIR'] + '/l'),"
    " open(os.environ['TMPDIR'] + '/l', 'rb'))",
    "the folder above by a link of the folder": "open('{mine}/way-out/state/dashboard.json').read()",
    "the mode of the runs": "os.chmod('{run}', 0o777)",
    "the mode of the keys": "os.chmod('{home}/.env', 0o644)",
    "the time of the journal": "os.utime('{journal}')",
    "an attribute": "os.setxattr('{journal}', 'user.mine', b'x')",
    "the keys": "open('{home}/.env').read()",
    "keys in its own folder": "open('{mine}/.env').read()",
    "the state folder": "open('{home}/state/dashboard.json').read()",
    "an arming": "open('{home}/state/alpaca-1.armed.json', 'w')",
    "a change of its own code": "open('{mine}/strategy.py', 'a')",
    "memory of the desk": "open('/proc/{desk}/mem', 'r+b')",
    "the desk's environment": "open('/proc/{desk}/environ').read()",
    "the desk's files": "os.listdir('/proc/{desk}/fd')",
    "the desk's root": "os.listdir('/proc/{desk}/root')",
    "attaching": "call(101, 16, {pid}, 0, 0)",
    "reading another's memory": "call(310, {pid}, 0, 0, 0, 0, 0)",
    "an open file of another": "call(438, os.pidfd_open({pid}), 0, 0)",
    "the end of another process": "os.kill({pid}, signal.SIGKILL)",
    "a stop of another process": "os.kill({pid}, signal.SIGSTOP)",
    "a signal by its handle": "signal.pidfd_send_signal(os.pidfd_open({pid}), signal.SIGTERM)",
    "a signal to everybody": "os.kill(-1, 0)",
    "limits of another process": "resource.prlimit({pid}, resource.RLIMIT_FSIZE, (0, 0))",
    "the processors of another process": "os.sched_setaffinity({pid}, [0])",
    "the rank of another process": "os.setpriority(os.PRIO_PROCESS, {pid}, 19)",
    "the network": "socket.create_connection(('127.0.0.1', 10_000))",
    "a message": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "the services of the user": "ask('/run/dbus/system_bus_socket', 'x')",
    "an abstract socket": "ask('\\0x', 'x')",
    "a socket past the filter": "call(425, 4, 0)",
    "a socket by the old interface of the processor": "call(0x40000000 | 41, 1, 1, 0)",
    "a pair that sends datagrams anywhere": "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "a keyring": "call(250, 0, -4, 1)",
    "the terminal": "open('/dev/tty', 'w')",
    "typing": "fcntl.ioctl(2, 0x5412, b'r')",
    "a session of its own": "os.setsid()",
    "shared memory": "open('/dev/shm/mine', 'w')",
    "the shared temporary folder": "open('/tmp/mine', 'w')",
    "passwords": "open('/etc/shadow').read()",
    "a mount": "call(165, 0, 0, 0, 0, 0)",
}


@pytest.mark.parametrize("what", ATTACKS)
def test_a_hostile_folder_gets_nothing(hostile, desk, bystander, what):
    assert set(hostile(ATTACKS[what])) == {"refused"}, what
    assert bystander.poll() is None
    assert desk.asked == []


@pytest.mark.parametrize("what", ["ask('{socket}', 'resume')", "open('{token}').read()", "open('{journal}')"])
def test_neither_does_a_program_that_it_starts(hostile, desk, what):
    program = f"{ATTEMPT}\nprint(json.dumps(attempt({what!r})))".replace("{", "{{").replace("}", "}}")
    program = program.replace(what.replace("{", "{{").replace("}", "}}"), what)
    words = f"[sys.executable, '-c', {program!r}]"
    found = hostile(f"subprocess.run({words}, capture_output=True, text=True).stdout")
    assert '"refused"' in found["got"], found
    assert desk.asked == []


def test_nor_our_own_command_from_within(hostile, desk):
    words = "[sys.executable, '-m', 'scalpdesk', 'resume', '--reason', 'x', '--runs-dir', '{run}/..']"
    found = hostile(f"subprocess.run({words}, capture_output=True).returncode")
    assert found["got"] != "0"
    assert desk.asked == []


NEEDS = {
    "its data": "open('{mine}/weights.csv').read()",
    "a module beside it": "(sys.path.insert(0, '{mine}'), __import__('helper').answer)",
    "its scratch folder": "pathlib.Path(os.environ['TMPDIR'], 'a').write_text('x')",
    "a file gone again": "(lambda p: (p.touch(), p.unlink()))(pathlib.Path(os.environ['TMPDIR'], 'b'))",
    "a temporary file": "tempfile.NamedTemporaryFile().write(b'x')",
    "an event loop": "asyncio.run(asyncio.sleep(0))",
    "a pair of sockets": "socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)",
    "a program": "subprocess.run(['ls', '/usr'], capture_output=True, check=True)",
    "a child and its end": "(lambda p: (p.kill(), p.wait()))(subprocess.Popen(['sleep', '60']))",
    "time zones": "__import__('zoneinfo').ZoneInfo('America/New_York')",
    "random numbers": "open('/dev/urandom', 'rb').read(4)",
    "the number of processors": "os.cpu_count()",
    "a limit of its own": "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))",
    "frames": "__import__('duckdb').sql('select 42').fetchall()",
    "a kernel": "__import__('scalpdesk.pricing', fromlist=['x']).greeks(100.0, 100.0, 0.1, 0.2, True)",
}


@pytest.mark.parametrize("what", NEEDS)
def test_what_a_strategy_needs_it_has(hostile, what):
    found = hostile(NEEDS[what])
    assert "got" in found, found


# older systems ------------------------------------------------------------------------------------

SIGNALS = ["os.kill({pid}, 9)", "os.kill(-1, 0)", "signal.pidfd_send_signal(os.pidfd_open({pid}), 15)"]
OLDER = [
    *("open('{token}').read()", "ask('{socket}', 'resume')", "open('{journal}', 'ab')"),
    *("os.truncate('{journal}', 0)", "open('/proc/{desk}/mem', 'r+b')", "call(101, 16, {pid}, 0, 0)"),
    *SIGNALS,
]


def outside(desk, bystander, attempts, abi, **grants):
    """Make attempts in a process that an older Landlock confines; return their results."""
    program = f"""
{ATTEMPT}
from scalpdesk_strategies.isolation.confinement import Grants, confine
given = json.loads(sys.argv[1])
lacking = confine(Grants(**given["grants"]), abi=given["abi"])
print(json.dumps([lacking, *map(attempt, given["attempts"])]))
"""
    attempts = [each.format(**names(desk, bystander)) for each in attempts]
    given = {"grants": {"scratch": str(desk.home / "state"), **grants}, "abi": abi, "attempts": attempts}
    words = [sys.executable, "-P", "-c", program, json.dumps(given)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    return json.loads(done.stdout)


@pytest.mark.parametrize("abi", range(1, 7))
def test_an_older_kernel_keeps_the_same_doors_shut(desk, bystander, abi):
    open_doors, *found = outside(desk, bystander, [*OLDER, "1 + 1", "os.kill(os.getpid(), 0)"], abi)
    assert open_doors == []
    assert [set(each) for each in found] == [{"refused"}] * len(OLDER) + [{"got"}] * 2, found
    assert bystander.poll() is None


def test_without_landlock_the_socket_and_other_processes_are_out_of_reach_and_the_files_are_named(
    desk, bystander
):
    reached = ["ask('{socket}', 'resume')", "call(101, 16, {pid}, 0, 0)", *SIGNALS]
    open_doors, *found = outside(desk, bystander, [*reached, "open('{token}').read()"], 0)
    assert open_doors == [FILES_OPEN]
    assert [set(each) for each in found] == [{"refused"}] * len(reached) + [{"got"}]


# what is granted ----------------------------------------------------------------------------------


@pytest.fixture
def listener():
    """The port of a server on this machine."""
    made = []

    async def serve():
        over.set_event = asyncio.Event()
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        made.append((asyncio.get_running_loop(), server.sockets[0].getsockname()[1]))
        is_up.set()
        async with server:
            await over.set_event.wait()

    is_up, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert is_up.wait(60.0)
    yield made[0][1]
    made[0][0].call_soon_threadsafe(over.set_event.set)
    thread.join()


@pytest.mark.skipif(landlock_abi() < 4, reason="this kernel limits no ports")
def test_a_port_that_is_granted_is_reached_and_no_other(tmp_path, listener):
    body = """
        import socket
        try:
            kind = event["payload"].get("kind", 0)
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM, kind) as line:
                if event["payload"]["quick"]:
                    line.sendto(b"x", 0x20000000, ("127.0.0.1", event["payload"]["port"]))
                else:
                    line.connect(("127.0.0.1", event["payload"]["port"]))
            return {"got": 1}
        except OSError as error:
            return {"refused": type(error).__name__}
    """
    for granted, is_reached in ((listener, True), (listener - 1, False)):
        with FolderProcess(folder(tmp_path, body), FolderLimits(connect_ports=(granted,))) as process:
            asked = [event("evt_1", port=listener, quick=False), event("evt_2", port=listener, quick=True)]
            asked.append(event("evt_3", port=listener, quick=False, kind=262))  # several paths: MPTCP
            plain, quick, several = (process.ask(each).messages[0] for each in asked)
        assert ("got" in plain) == is_reached
        assert "refused" in quick
        assert "refused" in several


def test_an_old_kernel_says_that_it_limits_no_ports(desk, bystander):
    assert outside(desk, bystander, [], 3, ports=[443]) == [[PORTS_OPEN]]


def test_paths_that_are_granted_are_used_and_runs_and_hidden_files_in_them_are_not(desk, bystander, tmp_path):
    given, kept = tmp_path / "given", tmp_path / "kept"
    (given / ".ssh").mkdir(parents=True)
    (given / ".ssh" / "id").write_text("canary")
    (given / "model").write_text("x")
    kept.mkdir()
    limits = FolderLimits(
        time_limit_seconds=20.0, readable_paths=(str(given), str(desk.home)), writable_paths=(str(kept),)
    )
    made = folder(tmp_path, ANSWER, before=ATTEMPT)
    with FolderProcess(made, limits) as process:

        def tried(what):
            what = what.format(given=given, kept=kept, **names(desk, bystander))
            return set(process.ask(event(what=what)).messages[0])

        assert tried("open('{given}/model').read()") == {"got"}
        assert tried("open('{mine}/weights.csv').read()") == {"got"}
        assert tried("pathlib.Path('{kept}/log').write_text('x')") == {"got"}
        assert tried("open('{given}/model', 'w')") == {"refused"}
        assert tried("open('{given}/.ssh/id').read()") == {"refused"}
        assert tried("open('{journal}', 'rb')") == {"refused"}
        assert tried("open('{token}').read()") == {"refused"}
    assert (kept / "log").read_text() == "x"


@pytest.mark.parametrize("setting", ["readable_paths", "writable_paths"])
def test_what_is_the_desks_own_cannot_be_granted(tmp_path, setting):
    made, runs = folder(tmp_path, "return None"), tmp_path / "desk" / "runs"
    runs.mkdir(parents=True)
    wrong = [tmp_path / "nowhere", runs, *([tmp_path / "desk"] if setting == "writable_paths" else [])]
    for path in wrong:
        limits = FolderLimits(**{setting: (str(path),)}, private_paths=(str(runs),))
        with pytest.raises(ConfigError) as refused:
            FolderProcess(made, limits)
        assert refused.value.where == f"strategies.external.{setting}"


# where a system cannot ------------------------------------------------------------------------------


def settings_of(made, **more):
    return {"external": {"folder": str(made), **more}}


def test_a_folder_that_must_be_confined_is_not_loaded_where_it_cannot_be(tmp_path, caplog):
    """As a system without Landlock: the process is started where this kernel's interface is taken away."""
    mark = tmp_path / "loaded"
    made = folder(tmp_path, "return None", before=f"open({str(mark)!r}, 'w')")
    without = tmp_path / "without"
    without.mkdir()
    (without / "sitecustomize.py").write_text(
        "from scalpdesk_strategies.isolation import confinement\nconfinement.landlock_abi = lambda: 0\n"
    )
    wrapper = ["env", f"PYTHONPATH={without}"]
    with pytest.raises(ConfigError) as refused:
        start_helper("external", settings_of(made, must_be_confined=True, wrapper=wrapper), tmp_path / "runs")
    assert refused.value.where == "strategies.external.must_be_confined"
    assert refused.value.value == FILES_OPEN
    assert not mark.exists()
    start_helper("external", settings_of(made, wrapper=wrapper), tmp_path / "runs").close()
    assert mark.exists()
    assert [record.args for record in caplog.records] == [(FILES_OPEN,)]


def test_in_the_desks_own_process_no_folder_is_confined(tmp_path):
    made = folder(tmp_path, "return None")
    with pytest.raises(ConfigError) as refused:
        start_helper("external", settings_of(made, must_be_confined=True, isolate=False), tmp_path / "runs")
    assert refused.value.where == "strategies.external.must_be_confined"


@pytest.mark.parametrize("machine", ["riscv64", "i686", *AUDIT_ARCHITECTURES])
def test_a_processor_whose_calls_are_not_known_is_named(machine):
    assert lacking(abi=7, machine=machine) == (() if machine in AUDIT_ARCHITECTURES else (CALLS_OPEN,))


@pytest.mark.parametrize(
    ("column", "header"),
    [
        (0, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        (1, "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_the_numbers_of_the_calls_are_the_systems(column, header):
    if not Path(header).exists():
        pytest.skip("the headers of the kernel are not installed")
    lines = [line.split() for line in Path(header).read_text().splitlines() if "define __NR" in line]
    known = {words[1].removeprefix("__NR3264_").removeprefix("__NR_"): words[2] for words in lines[::-1]}
    checked = {name: known[name] for name, numbers in CALLS.items() if name in known and numbers[column]}
    assert len(checked) > 40
    assert {name: str(CALLS[name][column]) for name in checked} == checked


# a whole run ----------------------------------------------------------------------------------------

EVERYTHING = """
def everything():
    (run,) = os.listdir(RUNS) or ["none"]
    yield "names", attempt("os.listdir(RUNS)")
    yield "socket", attempt(f"ask('{RUNS}/{run}/control.sock', 'resume')")
    yield "token", attempt(f"open('{RUNS}/{run}/control.token').read()")
    yield "journal", attempt(f"open('{RUNS}/{run}/journal-000001.sdj', 'rb').read(4)")
    yield "desk", attempt("open(f'/proc/{os.getppid()}/mem', 'rb')")
    yield "signal", attempt("os.kill(os.getppid(), 0)")


tried = []
"""


@pytest.mark.second
def test_a_whole_run_of_a_hostile_folder_ends_in_order_and_hears_nothing_of_it(tmp_path):
    """`scalpdesk run` in a folder that holds strategy and runs together, as a beginner starts it."""
    body = """
        if not tried:
            tried.extend(everything())
            print(json.dumps(tried), flush=True)
        return None
    """
    before = f"{ATTEMPT}\nRUNS = {str(tmp_path / 'runs')!r}\n{EVERYTHING}"
    made = folder(tmp_path, body, before=before, name="mine")
    (made / "strategy.py").rename(tmp_path / "strategy.py")
    made.rmdir()
    words = ["run", "external", "--strategy", ".", "--start", "2017-07-03", "--speed", "max"]
    done = subprocess.run(
        [sys.executable, "-m", "scalpdesk", *words, "--no-dashboard", "--set", "must_be_confined=true"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")},
    )
    (said,) = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('[["names"')]
    assert done.returncode == 0, done.stderr
    assert [what for what, found in said if "got" in found] == ["names"]

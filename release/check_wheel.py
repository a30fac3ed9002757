"""Build the wheel and the sdist, install them into clean environments, and use what was installed.

python release/check_wheel.py                    each Python of pyproject.toml that is found
python release/check_wheel.py --python PATH ...  these interpreters instead
python release/check_wheel.py --compiled         with the order path compiled: a wheel for each (needs gcc)

What was built and ``figures.json`` stay in ``build/wheel``. Exit 1 when a check fails.
"""

import argparse
import http.client
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "wheel"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSIONS = [
    found[1] for text in PROJECT["classifiers"] if (found := re.fullmatch(r".*:: Python :: (3\.\d+)", text))
]
"""Versions of Python that the project names in its classifiers."""
PARTS = tuple(sorted(folder.name for folder in (ROOT / "parts").iterdir() if folder.is_dir()))
"""The other distributions of the repository, by their folders."""
BROUGHT = {"alpaca": "alpaca", "deribit": "deribit", "ibkr": "tws"}
"""Protocol that the part of each venue serves."""
AT_ONCE = 2
"""Environments that work side by side."""
LONGEST_S = 1_200
"""Limit of one command."""

DEMO = ("demo", "--speed", "max", "--no-dashboard", "--json")
BACKTEST = ("backtest", "gamma-scalper", "--start", "2018-02-05", "--set", "entry.gate=off", "--json")
SWEEP = ("sweep", "gamma-scalper", "--start", "2018-02-05", "--param")
KEYS = {"TRADING_API_KEY": "key", "TRADING_API_SECRET": "secret"}
NEEDS_EXTRA: dict[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "alerts": (("alerts", "test"), {"SCALPDESK_CREDENTIALS__ALERT_URLS": "json://localhost"}),
    "alpaca": (("run", "gamma-scalper", "--venue", "alpaca"), KEYS),
    "databento": (("data", "import", "databento", "quotes.dbn"), {}),
    "deribit": (("run", "gamma-scalper", "--venue", "deribit"), KEYS),
    "exchange": (("exchange",), {}),
    "firestore": (
        ("gex", "SPY", "--start", "2018-02-05", "--at", "15:00", "--publish"),
        {"FIREBASE_PROJECT_ID": "desk", "FIRESTORE_EMULATOR_HOST": "localhost:1"},
    ),
    "ibkr": (("run", "gamma-scalper", "--venue", "ibkr"), {}),
    "mcp": (("mcp",), {}),
    "ml": (("vol", "--evaluate", "--model", "trees"), {}),
    "plots": (("report", "last", "--plot", "run.png"), {}),
    "ray": ((*SWEEP, "straddles=1,2", "--engine", "ray"), {}),
    "search": ((*SWEEP, "straddles=1:3:lin", "--search", "2"), {}),
    "web": (("dashboard", "--port", "0"), {}),
}
"""A command that needs the extra, and the environment variables that bring it that far."""
NO_COMMAND = {"all", "postgres"}
"""Extras without a command of their own: the others together, and a run store that a program opens."""


class CheckError(Exception):
    """A check that failed, in words for the person who reads the output."""


def require(holds: object, text: str) -> None:
    """Raise a :class:`CheckError` unless the condition holds."""
    if not holds:
        raise CheckError(text)


def call(words: list[str], cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its exit code."""
    return subprocess.run(
        words, cwd=cwd, env=env, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )


def last_lines(done: subprocess.CompletedProcess[str]) -> str:
    """Return the errors of a command that failed, else the last lines of its output."""
    lines = (done.stdout + done.stderr).strip().splitlines()
    return "\n".join([line for line in lines if line.startswith("ERROR")] or lines[-8:])


# build ----------------------------------------------------------------------------------------------


def copy_checkout(to: Path, rights: int) -> Path:
    """Copy what git knows or would take, nothing ignored; ``rights`` are those that files may keep."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)
            (to / name).chmod((to / name).stat().st_mode & rights)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    (to / "src/scalpdesk/core/commit.txt").write_text(head.stdout, encoding="ascii")
    return to


def commit_seconds() -> str:
    """Return the time of the last commit: the stamp of every file in what is built."""
    git = ["git", "log", "-1", "--format=%ct"]
    return subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def build(source: Path, out: Path, *kinds: str, **env: str) -> dict[str, Path]:
    """Build a folder with the locked hatchling; return the files by the end of their names."""
    out.mkdir(parents=True)
    words = [sys.executable, "-m", "hatchling", "build", "-d", str(out), *kinds]
    env |= {"SOURCE_DATE_EPOCH": commit_seconds(), "HATCH_BUILD_HOOK_ENABLE_CUSTOM": "1"}
    done = call(words, source, {**os.environ, **env})
    require(done.returncode == 0, f"the build failed: {last_lines(done)}")
    return {path.suffix: path for path in out.iterdir()}


def require_same(path: Path, other: Path) -> None:
    """Raise a :class:`CheckError` unless two files hold the same bytes."""
    require(path.read_bytes() == other.read_bytes(), f"two builds of {path.name} differ")


def build_all(work: Path) -> dict[str, Path]:
    """Build everything twice, and the wheels once more from the sdist; return the files, which are equal."""
    first = copy_checkout(work / "first", 0o777)
    second = copy_checkout(work / "second" / "deeper", 0o700)
    built = build(first, work / "built", PYTHONHASHSEED="1", TZ="UTC")
    for suffix, path in build(second, work / "again", PYTHONHASHSEED="2", TZ="Asia/Tokyo").items():
        require_same(path, built[suffix])
    unpacked = call(["tar", "xzf", str(built[".gz"])], work, os.environ)
    require(unpacked.returncode == 0, f"the sdist cannot be unpacked: {unpacked.stderr}")
    sources = work / built[".gz"].name.removesuffix(".tar.gz")
    require_same(build(sources, work / "from-sdist", "-t", "wheel")[".whl"], built[".whl"])
    parts = {}
    for part in PARTS:
        folder = f"parts/{part}"
        parts[part] = build(first / folder, work / part, "-t", "wheel")[".whl"]
        again = build(sources / folder, work / f"{part}-from-sdist", "-t", "wheel")[".whl"]
        require_same(again, parts[part])
    return {"wheel": built[".whl"], "sdist": built[".gz"], **parts}


def build_compiled(executable: str, sdist: Path, out: Path) -> Path:
    """Build the wheel with its order path compiled, as ``pip wheel`` builds it from the sdist."""
    env = {**os.environ, "HATCH_BUILD_HOOK_ENABLE_MYPYC": "1", "SOURCE_DATE_EPOCH": commit_seconds()}
    done = call([executable, "-m", "pip", "wheel", "--no-deps", "-w", str(out), str(sdist)], out.parent, env)
    require(done.returncode == 0, f"the compiled wheel was not built: {last_lines(done)}")
    return next(out.glob("*.whl"))


# interpreters ---------------------------------------------------------------------------------------

ASK = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2], sys.executable)"


def ask_python(path: str, version: str = "") -> tuple[str, str] | None:
    """Return version and place of an interpreter that can make environments, or ``None``."""
    chosen = {"PYENV_VERSION": version} if version else {}  # else a shim of pyenv may refuse
    try:
        done = call([path, "-c", ASK], ROOT, {**os.environ, **chosen})
    except OSError:
        return None
    found, _, place = done.stdout.strip().partition(" ")
    return (found, place) if done.returncode == 0 and version in ("", found) else None


def find_pythons(given: list[str]) -> dict[str, str]:
    """Return interpreters by version: those given, or the first of each version on the path."""
    found = {}
    for path in given:
        answer = ask_python(path)
        if answer is None or answer[0] not in VERSIONS:
            raise CheckError(f"{path} is no Python of {', '.join(VERSIONS)} with venv and ensurepip")
        found[answer[0]] = answer[1]
    for version in [] if given else VERSIONS:
        places = [Path(folder) / f"python{version}" for folder in os.get_exec_path()]
        answers = (ask_python(str(place), version) for place in places if place.is_file())
        if answer := next(filter(None, answers), None):
            found[version] = answer[1]
    return found


# environments ---------------------------------------------------------------------------------------


@dataclass
class Environment:
    """A virtual environment, an empty folder to work in, and what was measured there."""

    version: str
    home: Path
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def python(self) -> str:
        """Interpreter of the environment."""
        return str(self.home / "venv" / "bin" / "python")

    @property
    def work(self) -> Path:
        """Folder in which commands run."""
        return self.home / "work"

    def install(self, *words: str) -> float:
        """Install with pip, wheels only; return the seconds."""
        began = time.perf_counter()
        pip = [self.python, "-m", "pip", "install", "--only-binary", ":all:", "--disable-pip-version-check"]
        pip += ["--find-links", str(OUT)]  # the parts that were built with it
        done = call([*pip, *words], self.home, os.environ)
        require(done.returncode == 0, f"pip install {' '.join(words)} failed:\n{last_lines(done)}")
        return round(time.perf_counter() - began, 1)

    def variables(self, **more: str) -> dict[str, str]:
        """Return the environment variables of a new user."""
        home = str(self.home)
        kept = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
        return {
            "HOME": home,
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "XDG_STATE_HOME": home,
            **kept,
            **more,
        }

    def run(self, *words: str, code: int = 0, **env: str) -> str:
        """Run ``scalpdesk`` with these words; return stdout, or stderr of a refusal that was expected."""
        program = str(Path(self.python).with_name("scalpdesk"))
        done = call([program, *words], self.work, self.variables(**env))
        text = f"scalpdesk {' '.join(words)} ended with {done.returncode}, not {code}:\n{last_lines(done)}"
        require(done.returncode == code, text)
        return done.stderr if code else done.stdout

    @contextmanager
    def serving(self, *words: str) -> Iterator[dict[str, Any]]:
        """Start a command that serves; give the document that it writes when it is ready."""
        program = str(Path(self.python).with_name("scalpdesk"))
        with (self.home / "errors").open("w+") as errors:
            process = subprocess.Popen(
                [program, *words],
                cwd=self.work,
                env=self.variables(),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            try:
                assert process.stdout is not None
                text = ""
                for line in process.stdout:
                    text += line
                    if line.rstrip().endswith("}") and line[:1] in "{}":  # its last line: indented or not
                        break
                errors.seek(0)
                require(text, f"scalpdesk {' '.join(words)} ended at its start:\n{errors.read()}")
                yield json.loads(text)
                process.send_signal(signal.SIGINT)
                code = process.wait(60)
                require(code in (0, 130), f"scalpdesk {words[0]} ended with {code} after Ctrl-C")
            finally:
                process.kill()


def make_environment(version: str, executable: str, home: Path) -> Environment:
    """Make a clean environment for an interpreter."""
    (home / "work").mkdir(parents=True)
    done = call([executable, "-m", "venv", str(home / "venv")], home, os.environ)
    require(done.returncode == 0, f"no environment: {last_lines(done)}")
    return Environment(version, home)


def fetch(url: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the body that a server on this machine answers with 200."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "localhost", address.port, timeout=120)
    connection.request("GET", address.path, headers=dict(headers or {}))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    require(answer.status == 200, f"{address.path} answered {answer.status}: {body[:200]!r}")
    return body


# checks ---------------------------------------------------------------------------------------------


def check_demo(env: Environment) -> None:
    """Trade the session of the demo from an empty folder."""
    began = time.perf_counter()
    summary = json.loads(env.run(*DEMO))
    env.figures["first demo s"] = round(time.perf_counter() - began, 1)
    require(summary["fills"] > 0, "the demo filled no order")
    env.figures["demo P&L USD"] = summary["nav_change"]
    began = time.perf_counter()
    again = json.loads(env.run(*DEMO))
    env.figures["demo s"] = round(time.perf_counter() - began, 1)
    require(again["decision_hash"] == summary["decision_hash"], "two runs of the demo decided differently")


def check_core(env: Environment) -> None:
    """Use the wheel without any extra."""
    words = [env.python, "-c", "import scalpdesk, scalpdesk.notebook; print(scalpdesk.__file__)"]
    done = call(words, env.work, env.variables())
    require(done.returncode == 0, f"import scalpdesk failed: {last_lines(done)}")
    require(str(env.home) in done.stdout, f"not the installed package: {done.stdout}")
    require(json.loads(env.run("doctor", "--json"))["ok"], "doctor finds a failure")
    summary = json.loads(env.run(*BACKTEST))
    require(summary["fills"] > 0, "the backtest filled no order")
    env.run("replay", "last", "--verify")


def check_missing_extras(env: Environment) -> None:
    """A command whose extra is missing names the line that installs it."""
    (env.work / "quotes.dbn").touch()
    extras = set(PROJECT["optional-dependencies"])
    require(set(NEEDS_EXTRA) | NO_COMMAND == extras, "NEEDS_EXTRA does not name the extras of pyproject.toml")
    for extra, (words, variables) in NEEDS_EXTRA.items():
        text = env.run(*words, code=2, **variables)
        fix = re.search(r'pip install "scalpdesk\[([a-z,]+)\]"', text)
        named = fix[1].split(",") if fix else []
        require(extra in named, f"without its extra {' '.join(words)} does not name {extra!r}:\n{text}")


def check_exchange(env: Environment) -> None:
    """Install the extra as the message says; start the simulated exchange and ask for the account."""
    env.figures["exchange s"] = env.install("scalpdesk[exchange]")  # nothing but what the extra adds
    with env.serving("exchange") as ready:
        key, secret = ready["keys"]["alpaca"]
        headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}
        account = json.loads(fetch(f"{ready['urls']['alpaca']}/v2/account", headers))
        require(float(account["cash"]) == 100_000, f"the account holds {account['cash']}")


def brought(env: Environment) -> set[tuple[str, str]]:
    """Return the plug-ins of installed packages that can be used, as (group, name)."""
    found = json.loads(env.run("plugins", "--json"))  # exit code 1 when one is refused
    return {
        (socket["group"], each["name"])
        for socket in found["sockets"]
        for each in socket["plugins"]
        if each["distribution"] != "scalpdesk"
    }


def check_part(version: str, executable: str, home: Path, part: str) -> float:
    """Install one venue's part alone, which brings the desk; return the seconds."""
    env = make_environment(version, executable, home)
    seconds = env.install(f"scalpdesk-{part}")
    found = brought(env)
    for group, name in (("scalpdesk.venues", part), ("scalpdesk.exchanges", BROUGHT[part])):
        others = {each for each in found if each[0] == group} - {(group, name)}
        require((group, name) in found and not others, f"{part} alone brings {found}")
    return seconds


def check_dashboard(env: Environment) -> None:
    """Install the extra as the message says; start the dashboard and ask for its health, page and chart."""
    env.figures["web s"] = env.install("scalpdesk[web]")
    with env.serving("dashboard", "--port", "0", "--json") as ready:
        require(json.loads(fetch(f"{ready['url']}healthz"))["ok"], "the dashboard is not well")
        require(b"<html" in fetch(ready["url"]), "no page")
        require(len(fetch(f"{ready['url']}static/app.js")) > 1_000, "no script of the page")


def check_testing(env: Environment, wheel: Path) -> None:
    """Install scalpdesk-testing beside it and run ten fault trials."""
    env.figures["testing s"] = env.install(str(wheel))
    env.run("selftest", "--seeds", "0:10")  # exit code 1 when an invariant breaks


def installed_mb(env: Environment) -> float:
    """Return the megabytes of what pip installed, byte code with it, pip itself not."""
    packages = next((env.home / "venv" / "lib").glob("python*/site-packages"))
    files = (
        path
        for path in packages.rglob("*")
        if path.is_file() and path.relative_to(packages).parts[0] != "pip"
    )
    return round(sum(path.stat().st_size for path in files) / 1e6)


# the whole ------------------------------------------------------------------------------------------


def try_python(
    version: str, executable: str, built: Mapping[str, Path], home: Path, *, compiled: bool, in_full: bool
) -> dict[str, Any]:
    """Install the wheel for one Python and use it; return what was measured."""
    env = make_environment(version, executable, home)
    wheel = built["wheel"]
    if compiled:
        began = time.perf_counter()
        wheel = build_compiled(env.python, built["sdist"], home / "wheel")
        env.figures["build s"] = round(time.perf_counter() - began, 1)
        env.figures["wheel bytes"] = wheel.stat().st_size
        shutil.copy(wheel, OUT)
    env.figures["install s"] = env.install(str(wheel))
    env.figures["MB"] = installed_mb(env)
    check_demo(env)
    if compiled:
        found = json.loads(env.run("doctor", "--json"))["findings"]
        verdicts = {finding["name"]: finding["verdict"] for finding in found}
        require(verdicts["compiled modules"] == "ok", "doctor sees no compiled order path")
    if in_full:
        for part in BROUGHT if version == VERSIONS[0] else ():
            env.figures[f"{part} alone s"] = check_part(version, executable, home / part, part)
        for check in (check_core, check_missing_extras, check_exchange, check_dashboard):
            check(env)
        check_testing(env, built["testing"])
    return env.figures


def try_all(pythons: Mapping[str, str], built: Mapping[str, Path], work: Path, *, compiled: bool) -> int:
    """Try each Python, two at a time; the oldest and the newest in full. Return how many failed."""
    figures: dict[str, Any] = {}
    in_full = {min(pythons, key=VERSIONS.index), max(pythons, key=VERSIONS.index)} if not compiled else set()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = {
            version: pool.submit(
                try_python,
                version,
                executable,
                built,
                work / version,
                compiled=compiled,
                in_full=version in in_full,
            )
            for version, executable in pythons.items()
        }
        for version, task in tasks.items():
            try:
                figures[version] = task.result()
                print(f"Python {version}: {figures[version]}", flush=True)
            except (CheckError, subprocess.TimeoutExpired) as problem:
                print(f"failed: Python {version}: {problem}", flush=True)
    (OUT / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    return len(pythons) - len(figures)


def main() -> int:
    """Build, install, use; return the exit code."""
    parser = argparse.ArgumentParser(description="Build, install and use the wheel.")
    parser.add_argument("--python", nargs="*", default=[], metavar="PATH")
    parser.add_argument("--compiled", action="store_true")
    chosen = parser.parse_args()
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a job of a shell ignores Ctrl-C, and its children do
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="wheel-") as folder:
        try:
            pythons = find_pythons(chosen.python)
            require(pythons, f"no Python of {', '.join(VERSIONS)} is on the path")
            built = build_all(Path(folder))
        except CheckError as problem:
            print(f"failed: {problem}")
            return 1
        for path in built.values():
            shutil.copy(path, OUT)
            print(f"{path.name}: {path.stat().st_size:,} bytes, the same in two builds", flush=True)
        absent = ", ".join(version for version in VERSIONS if version not in pythons)
        if absent and not chosen.python:
            print(f"not found on the path, so not tried: Python {absent}", flush=True)
        failed = try_all(pythons, built, Path(folder), compiled=chosen.compiled)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{time.perf_counter() - began:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of processor time")
    print(f"{len(pythons) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

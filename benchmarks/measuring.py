"""Inputs and results of a benchmark case.

A case is a module in ``benchmarks/cases`` with a ``TITLE``, an ``ABOUT`` (Markdown: what is measured, how
fairness is kept, what the figures do not say), a ``SUBJECT`` (the paths of the source that it measures:
figures from before their last change are marked) and ``measure(context) -> list[Result]``. Nothing else has
to be edited to add one: `run.py` finds it by its file. A case may list in ``NEEDS`` modules without which it
is passed over.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
COMPILED = ROOT / ".venv" / "compiled"
"""The product with the order path compiled, of ``make compiled``."""
PEERS_LOCK = HERE / "peers" / "requirements.lock"

ENGINE = tuple(
    f"src/scalpdesk/{part}"
    for part in ("backtesting", "core", "engine", "marketdata", "orders", "portfolio", "risk", "simulation")
)
"""What every event of a backtest goes through: the subject of several cases."""
SMOKE_EVENTS = 20_000


class BenchmarkError(Exception):
    """A program failed or did other work than its peers, so its time means nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table.

    `value` and `peer_value` are medians over the rounds. `ratio` says how many times better than the peer:
    the median of the ratios within each round, so that a slow minute of the machine meets both sides.
    `spread` is the lowest and highest of those ratios, or of the values where there is no peer.
    """

    name: str
    metric: str
    value: float
    peer: str | None
    peer_value: float | None
    ratio: float | None
    spread: tuple[float, float]
    target: float | None = None
    """Smallest `ratio` (without a peer: largest `value`) asked for; None where nothing is."""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.ratio is None else self.ratio >= self.target

    def as_json(self) -> dict[str, Any]:
        """The fields of ``results.json`` that the case decides, rounded to five significant digits."""
        return {
            "name": self.name,
            "metric": self.metric,
            "value": _short(self.value),
            "peer": self.peer,
            "peer_value": None if self.peer_value is None else _short(self.peer_value),
            "ratio": None if self.ratio is None else _short(self.ratio),
            "spread": [_short(end) for end in self.spread],
            "target": self.target,
        }


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def us_each(runs: list[dict[str, Any]], of: str = "events") -> list[float]:
    """Microseconds an event, or another thing that the runs count."""
    return [1e6 * run["seconds"] / run[of] for run in runs]


def alone(name: str, metric: str, values: list[float], *, target: float | None = None) -> Result:
    """A figure that stands beside no peer."""
    return Result(
        name, metric, statistics.median(values), None, None, None, (min(values), max(values)), target=target
    )


def against(
    name: str,
    metric: str,
    values: list[float],
    peer: str,
    peer_values: list[float],
    *,
    lower_is_better: bool = True,
    target: float | None = None,
) -> Result:
    """A figure beside a peer's, round by round."""
    pairs = zip(values, peer_values, strict=True)
    ratios = [theirs / ours if lower_is_better else ours / theirs for ours, theirs in pairs]
    return Result(
        name,
        metric,
        statistics.median(values),
        peer,
        statistics.median(peer_values),
        statistics.median(ratios),
        (min(ratios), max(ratios)),
        target=target,
    )


@dataclass(slots=True)
class Context:
    """One run of the benchmarks: how often, where, and the programs it may start.

    Parameters
    ----------
    rounds
        How often each contender runs; contenders take turns within a round.
    smoke
        Small work, our side only: shows that the measuring works, not how fast anything is.
    scratch
        A folder for the files of this run.
    """

    rounds: int
    smoke: bool
    scratch: Path
    versions: dict[str, str] = field(default_factory=dict)

    def interleave(
        self, contenders: Mapping[str, Callable[[], dict[str, Any]]], *, rounds: int | None = None
    ) -> dict[str, list[dict[str, Any]]]:
        """Run every contender once a round, ``rounds`` times in place of the run's; the order turns by one.

        A run of less than a second is the middle one of three: what else the machine does meanwhile would
        make up much of it.
        """
        names = list(contenders)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        rounds = self.rounds if rounds is None else rounds
        for turn in range(rounds):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                run = contenders[name]()
                if 0.0 < run.get("seconds", 0.0) < 1.0 and not self.smoke:
                    again = [run, contenders[name](), contenders[name]()]
                    run = sorted(again, key=itemgetter("seconds"))[1]
                runs[name].append(run)
                if "version" in run:
                    self.versions[name.partition(",")[0]] = str(run["version"])
                print(f"  round {turn + 1}/{rounds}  {name}: {run.get('seconds', 0.0):.3f} s", flush=True)
        return runs

    def run_ours(self, script: str, *arguments: object, pure: bool = False) -> dict[str, Any]:
        """Run ``benchmarks/ours/<script>`` with this interpreter in a process of its own.

        ``pure`` runs the sources where the order path is compiled.
        """
        path = os.pathsep.join([own_path(pure=pure), str(HERE)])
        return self._run([sys.executable, HERE / "ours" / script, *arguments], PYTHONPATH=path)

    def run_peer(self, script: str, *arguments: object, python: str = "") -> dict[str, Any]:
        """Run ``benchmarks/peers/<script>`` with the peers' interpreter, which is set up on first use."""
        return self._run([peers_python(python), HERE / "peers" / script, *arguments], PYTHONPATH=str(HERE))

    @staticmethod
    def _run(command: list[object], **settings: str) -> dict[str, Any]:
        words = [str(word) for word in command]
        environment = {**os.environ, "PYTHONHASHSEED": "0", **settings}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
        if done.returncode != 0:
            tail = "\n".join(done.stderr.splitlines()[-15:])
            raise BenchmarkError(f"{Path(words[1]).name} ended with {done.returncode}:\n{tail}")
        try:
            answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, json.JSONDecodeError) as error:
            raise BenchmarkError(
                f"{Path(words[1]).name} printed no JSON line but: {done.stdout[-200:]!r}"
            ) from error
        return answer


def own_path(*, pure: bool = False) -> str:
    """PYTHONPATH of our side: the compiled product where there is one, and the sources of this tree."""
    return os.pathsep.join([*([] if pure else [str(COMPILED)]), str(ROOT / "src")])


def find_python(version: str) -> str | None:
    """The interpreter of a version on the path; None where there is none that runs."""
    shim = {**os.environ, "PYENV_VERSION": version}  # else a shim of pyenv may refuse
    command = [f"python{version}", "-c", "import sys; print(sys.executable)"]
    try:
        return subprocess.check_output(command, text=True, env=shim, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def peers_python(version: str = "") -> Path:
    """The interpreter of ``.venv-peers``, made from the lock when it is absent or the lock has changed.

    With a version the one of ``.venv-peers-<version>``, which holds the peers that need it.
    """
    folder = ROOT / "-".join([".venv-peers", *filter(None, [version])])
    python, stamp = folder / "bin" / "python", folder / ".lock-sha256"
    wanted = hashlib.sha256(PEERS_LOCK.read_bytes()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text(encoding="ascii").strip() == wanted:
        return python
    print(f"  setting up {folder.name} for the peers (once)", flush=True)
    maker = find_python(version) if version else sys.executable
    subprocess.run([str(maker), "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-compile"]
    only_hashed = ["--only-binary", ":all:", "--require-hashes", "-r", str(PEERS_LOCK)]
    subprocess.run([*pip, *only_hashed], check=True)
    stamp.write_text(wanted + "\n", encoding="ascii")
    return python

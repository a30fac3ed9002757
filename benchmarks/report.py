"""Writes what a run measured: ``results.json`` for programs, ``docs/evidence/benchmarks.md`` for people."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from measuring import COMPILED, ROOT, Result

PRODUCT_PARTS = ("scalpdesk", "numpy", "numba", "msgspec")


def machine() -> dict[str, str]:
    """The machine as far as it matters for the figures; nothing that names it."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    facts = {
        "processor": model,
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "order path": "compiled" if COMPILED.is_dir() else "sources",
    }
    if hasattr(os, "getloadavg"):
        facts["load when the run began (1 min)"] = f"{os.getloadavg()[0]:.2f}"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    commit = subprocess.check_output(("git", "rev-parse", "--short=8", "HEAD"), cwd=ROOT, text=True).strip()
    facts["measured"] = f"{datetime.now(UTC).date()}, commit {commit}"
    return facts


def write_json(path: Path, results: Sequence[Result]) -> None:
    """One JSON list, one object a line, so that a change is one line in a diff."""
    lines = ",\n".join("  " + json.dumps(result.as_json()) for result in results)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _row(result: Result) -> str:
    low, high = (_number(end) for end in result.spread)
    verdict = {None: "", True: "met", False: "**missed**"}[result.met]
    target = ""
    if result.target is not None:
        bound = f"≤ {_number(result.target)}" if result.ratio is None else f"≥ {_number(result.target)} ×"
        target = f"{bound} {verdict}"
    peer = result.peer or "–"
    peer_value = "–" if result.peer_value is None else _number(result.peer_value)
    ratio = "–" if result.ratio is None else f"{_number(result.ratio)} ×"
    cells = (
        result.name,
        result.metric,
        _number(result.value),
        peer,
        peer_value,
        ratio,
        f"{low} – {high}",
        target,
    )
    return "| " + " | ".join(cells) + " |"


def write_page(
    path: Path,
    sections: Sequence[tuple[str, str, Sequence[Result]]],
    versions: Mapping[str, str],
    facts: Mapping[str, str],
    rounds: int,
) -> None:
    """The page for people: one section a case, then machine, versions and how to run it again."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; edit the cases in `benchmarks/cases`, not this page.",
        "",
        f"Medians of {rounds} rounds in which the contenders take turns; a run of less than a second is the",
        "middle one of three. A ratio is the median of the ratios within each round and says how many times",
        "better than the peer; the spread beside it is the lowest and highest of them. Absolute times belong",
        "to the machine below.",
        "",
    ]
    for title, about, results in sections:
        lines += [
            f"## {title}",
            "",
            "| what | metric | ours | peer | peer's | ratio | spread | target |",
            "|---|---|--:|---|--:|--:|---|---|",
            *(_row(result) for result in results),
            "",
            about.rstrip(),
            "",
        ]
    lines += ["## Machine and versions", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    lines += [f"| {name} | {metadata.version(name)} |" for name in PRODUCT_PARTS]
    lines += [f"| {name} (peer) | {value} |" for name, value in sorted(versions.items())]
    lines += [
        "",
        "## Again",
        "",
        "```",
        "make bench                                   # all cases; sets up .venv-peers the first time",
        ".venv/bin/python benchmarks/run.py --case event_engine --rounds 5",
        ".venv/bin/python benchmarks/run.py --smoke   # small work, our side only, writes nothing",
        "```",
        "",
        "The peers live in a virtual environment of their own (`benchmarks/peers/requirements.lock`) and are",
        "no dependency of scalpdesk. `benchmarks/results.json` holds the same figures for programs.",
        "",
        "## Made by",
        "",
        "| figures | command | made |",
        "|---|---|---|",
        f"| [all of this page](#benchmarks) | `make bench` | {datetime.now(UTC).date()} |",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")

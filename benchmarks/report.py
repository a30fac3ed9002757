"""Keeps what runs measured, of each processor: ``results.json`` for programs, a page for people."""

import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from measuring import COMPILED, ROOT, Result

PRODUCT_PARTS = ("scalpdesk", "numpy", "numba", "msgspec")

MEASURED_BY_OTHERS = """\
`openquanter` 2 is ahead in the dead-band work: its Python tier with margin does it to equal fills, holding
and profit in 0.394 µs a quote, where this engine takes 0.973 and `nautilus_trader` 4.84. Others measured
these on an Intel processor in November 2026. `make bench` runs it too and holds it to the same answer, which
it gives; the table has its row. The gap is the order (49 µs: fill with mark
and explain 40 %, exchange 25 %, decision and gate 22 %) and the quote (0.54 µs against 0.39).
"""


def machine() -> tuple[str, dict[str, str]]:
    """The processor, and the machine as far as it matters for the figures; nothing that names it."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    facts = {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    facts |= {name: metadata.version(name) for name in PRODUCT_PARTS}
    return model, facts


def occasion() -> str:
    """Day, commit and state of the machine at which a run begins."""
    commit = subprocess.check_output(("git", "rev-parse", "--short=8", "HEAD"), cwd=ROOT, text=True).strip()
    parts = [str(datetime.now(UTC).date()), f"commit {commit}"]
    parts.append("order path compiled" if COMPILED.is_dir() else "nothing compiled")
    if hasattr(os, "getloadavg"):
        parts.append(f"load {os.getloadavg()[0]:.2f}")
    return ", ".join(parts)


OLD = timedelta(days=31)


def changed_since(commit: str, paths: Sequence[str]) -> bool:
    """Whether a path has changed after a commit; one that is not in the history came before."""
    git = ("git", "-C", str(ROOT))
    last = subprocess.check_output((*git, "log", "-1", "--format=%H", "--", *paths), text=True).strip()
    ancestor = (*git, "merge-base", "--is-ancestor", last, commit)
    return bool(last) and subprocess.run(ancestor, capture_output=True, check=False).returncode != 0


def mark_old(
    records: Mapping[str, Any],
    subjects: Mapping[str, Sequence[str]],
    today: date,
    changed: Callable[[str, Sequence[str]], bool] = changed_since,
) -> None:
    """Set ``older`` of each row: than its subject, than a month, or empty."""
    for row in records["results"]:
        day, commit = row["measured"][:10], row["measured"].split("commit ")[1][:8]
        row["older"] = "older than a month" if today - date.fromisoformat(day) > OLD else ""
        if changed(commit, subjects[row["case"]]):
            row["older"] = "older than its subject"


def load(path: Path) -> dict[str, Any]:
    """Read the results of earlier runs: ``machines`` by processor, ``results`` with a row for each figure."""
    records: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return records


def replace(
    records: dict[str, Any],
    processor: str,
    facts: Mapping[str, str],
    peers: Mapping[str, str],
    found: Mapping[str, Sequence[Result]],
    measured: str,
) -> None:
    """Put the results of this run, by case, in place of the same cases' on the same processor."""
    before = records["machines"].get(processor, {"peers": {}})
    records["machines"][processor] = {"facts": dict(facts), "peers": before["peers"] | peers}
    kept = [row for row in records["results"] if row["processor"] != processor or row["case"] not in found]
    records["results"] = kept + [
        {"case": case, "processor": processor, "measured": measured} | result.as_json()
        for case, results in found.items()
        for result in results
    ]


def write_json(path: Path, records: Mapping[str, Any]) -> None:
    """One object a line, so that a change is one line in a diff."""
    rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in records["results"])
    machines = json.dumps(records["machines"], indent=1, ensure_ascii=False)
    path.write_text(f'{{"machines": {machines},\n"results": [\n{rows}\n]}}\n', encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _target(row: Mapping[str, Any]) -> str:
    if row["target"] is None:
        return ""
    return f"≤ {_number(row['target'])}" if row["ratio"] is None else f"≥ {_number(row['target'])} ×"


def _measured(row: Mapping[str, Any] | None) -> list[str]:
    """The cells of one processor: ours, the peer's, the ratio or what the figure spread over, and when."""
    if row is None:
        return ["", "", "", ""]
    measured = ", ".join(row["measured"].replace("commit ", "").split(", ")[:2])
    older = row.get("older")
    low, high = (_number(end) for end in row["spread"])
    spread = f"{low} – {high}" if row["ratio"] is None else f"{_number(row['ratio'])} × ({low} – {high})"
    missed = row["target"] is not None and (
        row["value"] > row["target"] if row["ratio"] is None else row["ratio"] < row["target"]
    )
    return [
        _number(row["value"]),
        "–" if row["peer_value"] is None else _number(row["peer_value"]),
        spread + (" **missed**" if missed else ""),
        measured + (f", **{older}**" if older else ""),
    ]


def _table(rows: Sequence[Mapping[str, Any]], processors: Sequence[str]) -> list[str]:
    """A case's figures, with columns of their own for each processor."""
    found: dict[tuple[str, ...], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        key = row["name"], row["metric"], row["peer"] or "–", _target(row)
        found.setdefault(key, {})[row["processor"]] = row
    heads = [
        f"{what}, {name}" for name in processors for what in ("ours", "peer's", "ratio or spread", "measured")
    ]
    return [
        "| " + " | ".join(["what", "metric", "peer", "target", *heads]) + " |",
        "|---|---|---|---|" + "--:|--:|---|---|" * len(processors),
        *(
            "| "
            + " | ".join([*key, *(cell for name in processors for cell in _measured(each.get(name)))])
            + " |"
            for key, each in found.items()
        ),
    ]


def peers_ahead(records: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rows in which another program is better, not those against our own work at another size."""
    return [
        row
        for row in records["results"]
        if row["ratio"] is not None
        and row["ratio"] < 1.0
        and row["peer"].startswith(tuple(records["machines"][row["processor"]]["peers"]))
    ]


SECONDS = """\
## Processor seconds beside an older commit

`make seconds BASE=COMMIT` runs both compiled, in turns, each run in a process of its own: medians of three
rounds. Each cell: seconds of the commit, how many times those of its base, peak memory in MB. What takes 1.1
times as much of either fails. *Traded day*: 2018-02-05, gate off; *ten gate days*: from 2014-01-03; *twelve
held days*: from 2018-02-01, held over nights; *sweep of 8*: over two sessions; *American chain*: 400
contracts a thousand times.
"""


def _seconds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of ``seconds.json``, a line a commit."""
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row["cases"]))
    lines = [f"| commit | beside | date | processor | {' | '.join(names)} |", "|---" * (4 + len(names)) + "|"]
    for row in rows:
        found = (row["cases"].get(name) for name in names)
        cells = [f"{each['new']:.2f}, {each['ratio']:.2f} ×, {each['mb']}" if each else "–" for each in found]
        head = f"| {row['commit']} | {row['base']} | {row['date']} | {row['processor']} |"
        lines.append(f"{head} {' | '.join(cells)} |")
    return [SECONDS, *lines, ""]


def write_page(
    path: Path,
    records: Mapping[str, Any],
    cases: Sequence[tuple[str, str, str]],
    seconds: Sequence[Mapping[str, Any]] = (),
) -> None:
    """The page for people; a case is its name, title and text."""
    processors = list(records["machines"])
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; edit the cases in `benchmarks/cases`, not this page.",
        "",
        "## Where a peer is ahead",
        "",
        *(() if any(row["peer"] == "openquanter" for row in records["results"]) else (MEASURED_BY_OTHERS,)),
        *(
            f"* {row['peer']} in `{row['name']}`, {row['metric']}: {_number(row['peer_value'])} against"
            f" {_number(row['value'])} ({row['processor']})."
            for row in peers_ahead(records)
        ),
        "",
        "## Reading the tables",
        "",
        f"Measured on: {', '.join(processors)}. Each processor has columns of its own, with the peer's time",
        "on it: ratios depend less on the processor than times do.",
        "",
        "Medians of the rounds in which the contenders take turns; a run of less than a second is the",
        "middle one of three. A ratio is the median of the ratios within each round and says how many times",
        "better than the peer; in brackets the lowest and highest of them. Without a peer the spread of the",
        "figure stands there. A target that is not met is marked as missed. Figures from before the last",
        "change of the source that their case measures, or more than a month old, are marked as older: they",
        "say what was, not what is.",
        "",
    ]
    for name, title, about in cases:
        rows = [row for row in records["results"] if row["case"] == name]
        if not rows:
            continue
        days = sorted({row["measured"] for row in rows})
        on = [each for each in processors if any(row["processor"] == each for row in rows)]
        lines += [f"## {title}", "", *_table(rows, on), "", f"Measured {'; '.join(days)}.", ""]
        lines += [about.rstrip(), ""]
    lines += _seconds(seconds) if seconds else []
    lines += [
        "## Machines and versions",
        "",
        "| | " + " | ".join(processors) + " |",
        "|---" * (len(processors) + 1) + "|",
    ]
    facts = [
        each["facts"] | {f"{peer} (peer)": version for peer, version in sorted(each["peers"].items())}
        for each in records["machines"].values()
    ]
    names = dict.fromkeys(name for each in facts for name in each)
    lines += [f"| {name} | " + " | ".join(each.get(name, "") for each in facts) + " |" for name in names]
    made = max(row["measured"] for row in records["results"])[:10]
    lines += [
        "",
        "## Again",
        "",
        "```",
        "make bench                                   # all cases; sets up .venv-peers the first time",
        ".venv/bin/python benchmarks/run.py --case event_engine --rounds 5   # one case",
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
        f"| [all of this page](#benchmarks) | `make bench` | {made} |",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")

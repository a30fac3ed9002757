"""Measure scalpdesk beside its peers: ``python benchmarks/run.py``.

Cases are the modules of ``benchmarks/cases``; see `measuring` for what one consists of. A run replaces the
figures of its cases and its processor in ``benchmarks/results.json`` and writes
``docs/evidence/benchmarks.md`` from all that is there. ``--smoke`` runs small work on our side only,
checks that its answer is right, and writes nothing.
"""

import argparse
import importlib
import importlib.util
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from measuring import COMPILED, HERE, ROOT, BenchmarkError, Context, Result
from report import load, machine, mark_old, occasion, replace, write_json, write_page


def case_names() -> list[str]:
    """Names of all cases, in the order of their files."""
    return sorted(path.stem for path in (HERE / "cases").glob("*.py") if not path.stem.startswith("_"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py", description="Measure scalpdesk beside its peers."
    )
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="rounds of each contender (default 3)"
    )
    parser.add_argument(
        "--case", action="append", choices=case_names(), help="only this case; may be repeated"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="small work, one round, no peers, nothing written"
    )
    parser.add_argument(
        "--page", action="store_true", help="measure nothing, mark old figures, write the page"
    )
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {arguments.rounds}")
    return arguments


def main() -> int:
    """Run the chosen cases; 1 when a contender failed or did other work."""
    arguments = _arguments()
    if arguments.page:
        return _write(load(HERE / "results.json"))
    names = arguments.case or case_names()
    if not (COMPILED.is_dir() or arguments.smoke):
        print("every run is one of the sources; make compiled")
    processor, facts = machine()
    measured = occasion()
    results: dict[str, list[Result]] = {}
    with tempfile.TemporaryDirectory(prefix="scalpdesk-bench-") as scratch:
        context = Context(1 if arguments.smoke else arguments.rounds, arguments.smoke, Path(scratch))
        for name in names:
            case: ModuleType = importlib.import_module(f"cases.{name}")
            missing = [need for need in getattr(case, "NEEDS", ()) if importlib.util.find_spec(need) is None]
            if missing:
                print(f"{name}: not run, needs {', '.join(missing)}", file=sys.stderr)
                continue
            print(case.TITLE, flush=True)
            try:
                found = case.measure(context)
            except BenchmarkError as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 1
            for result in found:
                beside = "" if result.ratio is None else f"  {result.ratio:.3g} x {result.peer}"
                missed = "  (target missed)" if result.met is False and not arguments.smoke else ""
                print(f"  {result.name} {result.metric} {result.value:.4g}{beside}{missed}")
            results[name] = found
    if arguments.smoke:
        return 0
    facts["rounds"] = str(context.rounds)
    records = load(HERE / "results.json")
    replace(records, processor, facts, context.versions, results, measured)
    return _write(records)


def _write(records: dict[str, Any]) -> int:
    """Mark what is old; write the records and the page."""
    cases = {name: importlib.import_module(f"cases.{name}") for name in case_names()}
    mark_old(records, {name: case.SUBJECT for name, case in cases.items()}, datetime.now(UTC).date())
    write_json(HERE / "results.json", records)
    write_page(
        ROOT / "docs" / "evidence" / "benchmarks.md",
        records,
        [(name, case.TITLE, case.ABOUT) for name, case in cases.items()],
        json.loads((HERE / "seconds.json").read_text("utf-8")),
    )
    print("wrote benchmarks/results.json and docs/evidence/benchmarks.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Compiling of the pricing kernels: what every day needs before a first run, the rest at its first use."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import click

from scalpdesk.cli.waiting import Progress, progress_bar

KERNELS = {
    "every-day": ("american.fill_boundless", "svi_fit.swap_variance"),
    "all": (
        *("american.fill_boundless", "svi_fit.swap_variance", "american_iv.fill_table_iv"),
        *("american.fill_american", "american_iv.fill_premiums", "cash_premium.tabled_greeks"),
    ),
}
"""One that each dear step of the warm-up compiles: where all are, it was carried out."""


def are_compiled(which: str) -> bool:
    """Return whether machine code of ``KERNELS[which]`` lies in one of the folders that numba takes."""
    places = [Path(__file__).parents[1] / "pricing" / "__pycache__", Path.home() / ".cache" / "numba"]
    if os.environ.get("NUMBA_CACHE_DIR"):
        places = [Path(os.environ["NUMBA_CACHE_DIR"])]
    found = {path.name.partition("-")[0] for place in places for path in place.rglob("*.nbi")}
    return found.issuperset(KERNELS[which])


@contextmanager
def compiling_kernels() -> Iterator[None]:
    """Compile what every day needs while the caller loads its market; a bar on stderr shows what is left.

    What only interest, yields and dividends need (early exercise) is compiled where a run first asks for it.
    """
    if are_compiled("every-day"):
        yield
    else:
        click.echo("the first run compiles the pricing kernels, once: some ten seconds", err=True)
        with _second_compiler("every-day") as ended:
            yield
            _carry_out("every-day", ended)
    if not are_compiled("all"):
        _tell_of_later_ones()


def compile_kernels_once() -> None:
    """Compile what every day needs."""
    with compiling_kernels():
        pass


def compile_all_kernels(imports: Iterable[str] = ()) -> None:
    """Import modules, then compile or load every kernel: no decision of a live desk waits for it."""
    with _second_compiler("all") as ended:
        for module in imports:
            import_module(module)
        _carry_out("all", ended)


def _carry_out(which: str, ended: Callable[[], object]) -> None:
    from scalpdesk.pricing.warming import STEPS, warm_up_steps

    with progress_bar(as_json=False) as report:
        for done in warm_up_steps(which, ended):
            report(done, len(STEPS[which]), "compiling the pricing kernels")


@contextmanager
def _second_compiler(which: str) -> Iterator[Callable[[], object]]:
    """Let a process on another processor compile the last kernels; yield what waits for its end.

    However it ends: this process compiles what is missing then. No Ctrl-C reaches it, so it says nothing.
    """
    if (os.cpu_count() or 1) == 1 or are_compiled(which):
        yield lambda: None
        return
    command = sys.executable, "-m", "scalpdesk.pricing.warming", which
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=nowhere, stderr=nowhere, start_new_session=True) as process:  # noqa: S603 - ourselves
        try:
            yield process.wait
        finally:
            process.kill()


def _tell_of_later_ones() -> None:
    """Say so, with a bar, when a run comes to kernels that not every day needs."""
    from scalpdesk.pricing.kernels.compiling import tell_of_compiling

    progress = Progress(is_silent=False)

    def begins() -> None:
        click.echo("compiling the kernels of early exercise, once: up to half a minute", err=True)
        progress.begin()

    tell_of_compiling(begins, progress.end)

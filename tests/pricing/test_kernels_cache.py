"""Machine code on disk must not outlive the source of anything it was made from."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erfcx as scaled_tail

from scalpdesk.pricing.kernels import compiling
from scalpdesk.pricing.kernels.normal import (
    erfcx,
    exp_quick,
    mills_and_slope,
    sine_quick,
    tail_over_density,
)

CALLEE = """
from scalpdesk.pricing.kernels.compiling import inner


@inner
def rate():
    return 1.0
"""

CALLER = """
from callee import rate

from scalpdesk.pricing.kernels.compiling import kernel


@kernel
def doubled():
    return 2.0 * rate()
"""

PROGRAM = """
import sys
from pathlib import Path

here = Path(sys.argv[1])
sys.path.insert(0, str(here))
from caller import doubled

print(doubled(), sum(doubled.stats.cache_hits.values()))
"""


def run(folder):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    answer, hits = done.stdout.split()
    return float(answer), int(hits)


@pytest.mark.slow
def test_an_edit_to_a_callee_in_another_file_compiles_its_callers_anew(tmp_path):
    (tmp_path / "callee.py").write_text(CALLEE, encoding="utf-8")
    (tmp_path / "caller.py").write_text(CALLER, encoding="utf-8")
    assert run(tmp_path) == (2.0, 0)
    assert run(tmp_path) == (2.0, 1)
    (tmp_path / "callee.py").write_text(CALLEE.replace("1.0", "4.0"), encoding="utf-8")
    assert run(tmp_path) == (8.0, 0)
    # the files of the old code were overwritten, not left behind
    assert len(list((tmp_path / "cache").rglob("*.nbi"))) == 1


def test_the_digest_sees_names_and_contents(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    first = compiling.digest_of(tmp_path)
    (tmp_path / "a.py").write_text("x = 2\n", encoding="utf-8")
    second = compiling.digest_of(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, second, compiling.digest_of(tmp_path)}) == 3


def test_every_module_of_the_package_is_in_the_digest():
    package = Path(compiling.__file__).parent
    assert compiling.source_digest(package) == compiling.digest_of(package)
    assert {path.stem for path in package.glob("*.py")} > {"american", "boundary", "grid", "premium"}


def test_the_quick_functions_are_good_to_thirteen_digits():
    for x in np.linspace(-690.0, 690.0, 997):
        assert exp_quick(x) == pytest.approx(np.exp(x), rel=2e-15)
    assert exp_quick(-1e9) == pytest.approx(np.exp(-700.0))
    for x in np.linspace(0.0, 0.5 * np.pi, 501):
        assert sine_quick(x) == pytest.approx(np.sin(x), abs=1e-15)
    for d in np.linspace(-25.0, 25.0, 997):
        expected = np.sqrt(0.5 * np.pi) * erfcx(abs(d) * np.sqrt(0.5))
        assert tail_over_density(d) == pytest.approx(expected, rel=3e-13)


def test_mills_ratio_and_its_slope_are_good_to_the_last_digits():
    for z in np.concatenate((np.linspace(0.0, 12.0, 481), np.geomspace(12.0, 1e6, 60))):
        tail, slope = mills_and_slope(z)
        assert tail == pytest.approx(np.sqrt(0.5 * np.pi) * scaled_tail(z * np.sqrt(0.5)), rel=2e-15)
        # 1 - z·M(z) = ∫ t·exp(-t²/2 - z·t) dt over t > 0, which has no cancellation
        t, weight = np.polynomial.laguerre.laggauss(60)
        if z > 4.0:
            integral = float(np.sum(weight * t * np.exp(-0.5 * (t / z) ** 2))) / z**2
            assert slope == pytest.approx(integral, rel=1e-13)
        else:
            assert slope == pytest.approx(1.0 - z * tail, abs=4e-15)

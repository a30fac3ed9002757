"""Machine code on disk must not outlive the source of anything it was made from."""

import os
import pickle
import stat
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


def started(folder, **environment):
    """Run the program in the folder; return the process."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    words = [sys.executable, "-c", PROGRAM, str(folder)]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)


def run(folder):
    done = started(folder, NUMBA_CACHE_DIR=str(folder / "cache"))
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


class Planted:
    """A pickle that leaves a file where it is read."""

    def __init__(self, sign):
        self.sign = sign

    def __reduce__(self):
        return os.mkdir, (str(self.sign),)


STRANGER = 54_321


@pytest.fixture
def package(tmp_path):
    """A package with a kernel; its folder and its source have the same writers."""
    made = tmp_path / "package" / "kernels"
    made.mkdir(parents=True)
    (made / "callee.py").write_text(CALLEE, encoding="utf-8")
    (made / "caller.py").write_text(CALLER, encoding="utf-8")
    return made


def planted(folder, sign, *, mode=0o755, user=None):
    """Make a folder as the cache of the package, with code of another in the place of its index."""
    folder.mkdir()
    index = folder / f"caller.doubled-kernel.py{sys.version_info[0]}{sys.version_info[1]}.nbi"
    index.write_bytes(pickle.dumps(Planted(sign)))
    folder.chmod(mode)
    if user is not None:
        for path in (folder, index):
            os.chown(path, user, user)
    return folder


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")


@pytest.mark.parametrize(
    "foreign",
    [{"mode": 0o777}, pytest.param({"user": STRANGER}, marks=[as_root, pytest.mark.second])],
    ids=["open", "a stranger's"],
)
def test_compiled_code_that_another_user_could_have_made_is_never_read(tmp_path, package, foreign):
    """As the folder in a shared temporary folder that somebody else made first."""
    sign, cache = tmp_path / "it ran", tmp_path / "cache"
    cache.mkdir()
    name = compiling.ChosenFolder.get_suitable_cache_subpath(str(package / "caller.py"))
    planted(cache / name, sign, **foreign)
    refused = started(package, NUMBA_CACHE_DIR=str(cache))
    assert refused.returncode != 0
    assert "where: NUMBA_CACHE_DIR" in refused.stderr
    assert not sign.exists()
    (cache / name).rename(tmp_path / "away")
    assert started(package, NUMBA_CACHE_DIR=str(cache)).stdout.split() == ["2.0", "0"]


@pytest.mark.second
@pytest.mark.parametrize(
    "foreign",
    [{"mode": 0o777}, pytest.param({"user": STRANGER}, marks=as_root)],
    ids=["open", "a stranger's"],
)
def test_a_folder_beside_the_source_with_more_writers_than_the_source_is_passed_over(
    tmp_path, package, foreign
):
    sign, user_cache = tmp_path / "it ran", tmp_path / "of the user"
    planted(package.parent / "__pycache__", sign, **foreign)
    done = started(package, NUMBA_CACHE_DIR="", XDG_CACHE_HOME=str(user_cache))
    assert done.stdout.split() == ["2.0", "0"], done.stderr
    assert not sign.exists()
    kept = list(user_cache.rglob("*.nbi"))
    assert len(kept) == 1
    assert stat.S_IMODE(kept[0].parent.stat().st_mode) == 0o700
    kept[0].parent.chmod(0o777)
    again = started(package, NUMBA_CACHE_DIR="", XDG_CACHE_HOME=str(user_cache))
    assert "where: XDG_CACHE_HOME" in again.stderr


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

import subprocess
import sys

from scalpdesk.pricing import warm_up
from scalpdesk.pricing.kernels import american_iv, black_iv, svi_fit


def test_warming_up_compiles_the_kernels_of_quotes_and_smiles():
    warm_up()
    for kernel in (black_iv.european_iv, american_iv.table_iv, svi_fit.fitted, svi_fit.swap_variance):
        assert kernel.signatures


FORWARD_AFTER_WARMING_UP = """
import numpy as np
from scalpdesk.marketdata.chain_surface import implied_forward
from scalpdesk.pricing import greeks, warm_up
from scalpdesk.pricing.kernels import american_iv, normal

KERNELS = [getattr(module, name) for module in (american_iv, normal) for name in vars(module)]
def compiled():
    return [len(each.signatures) for each in KERNELS if hasattr(each, "signatures")]

warm_up()
before = compiled()
strikes = np.arange(85.0, 116.0, 2.5)
call = greeks(100.0, strikes, 0.25, 0.3, True, rate=0.04, style="american").price
put = greeks(100.0, strikes, 0.25, 0.3, False, rate=0.04, style="american").price
quotes = (call - 0.02, call + 0.02, put - 0.02, put + 0.02)
found = implied_forward(strikes, *quotes, spot=100.0, years=0.25, rate=0.04, style="american")
print(found.status, compiled() == before)
"""


ONE_FORM = """
import numpy as np
from scalpdesk.pricing import greeks, implied_vol
from scalpdesk.pricing.kernels import american, american_iv, black_iv, cash_premium, european, grid, tables

strikes = np.array([95.0, 100.0, 105.0])
read_only = strikes.copy()
read_only.flags.writeable = False
for strike in (strikes, read_only, strikes[::-1], [95, 100, 105], 100):
    for style in ("american", "european"):
        for dividends in (None, [(0.05, 1.0)]):
            terms = {"rate": 0.04, "dividends": dividends, "style": style}
            price = greeks(100, strike, 0.1, 0.2, False, **terms).price
            implied_vol(price, 100, strike, 0.1, False, **terms)
modules = american, american_iv, black_iv, cash_premium, european, grid, tables
kernels = {each for module in modules for each in vars(module).values() if hasattr(each, "signatures")}
print(max(len(each.signatures) for each in kernels))
"""


def test_each_kernel_is_compiled_for_one_form_of_arrays():
    """Read-only, reversed, whole and single numbers come to it as one: another form takes seconds more."""
    words = [sys.executable, "-c", ONE_FORM]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]


def test_no_forward_of_a_live_desk_waits_for_a_compiler():
    """On a new installation it took about five seconds in the desk's loop: the watchdog killed the desk."""
    words = [sys.executable, "-c", FORWARD_AFTER_WARMING_UP]  # in a process in which nothing is compiled
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ok", "True"]

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


def test_no_forward_of_a_live_desk_waits_for_a_compiler():
    """On a new installation it took about five seconds in the desk's loop: the watchdog killed the desk."""
    words = [sys.executable, "-c", FORWARD_AFTER_WARMING_UP]  # in a process in which nothing is compiled
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ok", "True"]

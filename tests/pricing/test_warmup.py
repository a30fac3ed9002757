from scalpdesk.pricing import warm_up
from scalpdesk.pricing.kernels import american_iv, black_iv, svi_fit


def test_warming_up_compiles_the_kernels_of_quotes_and_smiles():
    warm_up()
    for kernel in (black_iv.european_iv, american_iv.table_iv, svi_fit.fitted, svi_fit.swap_variance):
        assert kernel.signatures

"""Names that a notebook imports from the package root."""

import subprocess
import sys

import scalpdesk


def test_every_exported_name_is_there_and_is_what_it_says():
    many = {"BacktestConfig", "BacktestResult", "PreparedMarket", "simulate"}
    many |= {"bands", "load_run", "parity", "premium_history", "run_desk", "sweep", "tear_sheet"}
    assert set(scalpdesk.__all__) == {
        "Strategy",
        "__version__",
        "backtest",
        "load_data",
        "walk_forward",
        *many,
    }
    # in a process of its own: here the subpackages are imported already
    code = (
        "from scalpdesk import backtest, load_data, Strategy, __version__;"
        "assert callable(backtest) and callable(load_data);"
        "from scalpdesk import backtest as again; assert again is backtest;"
        "from scalpdesk import BacktestConfig, BacktestResult, PreparedMarket, simulate;"
        "from scalpdesk import bands, load_run, parity, premium_history;"
        "from scalpdesk import run_desk, sweep, tear_sheet, walk_forward;"
        "print(__version__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == scalpdesk.__version__


def test_no_subpackage_hides_an_exported_name():
    from pkgutil import iter_modules

    assert dir(scalpdesk) == sorted(scalpdesk.__all__)
    assert not {module.name for module in iter_modules(scalpdesk.__path__)} & set(scalpdesk.__all__)

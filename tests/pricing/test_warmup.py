import threading

from scalpdesk.pricing import warm_up, warm_up_in_background
from scalpdesk.pricing.american import boundary_table
from scalpdesk.pricing.scalar import option_greeks
from scalpdesk.pricing.warmup import build_tables


def test_warming_up_runs_every_path():
    assert warm_up() == 10


def test_the_tables_built_ahead_are_those_that_prices_read():
    boundary_table.cache_clear()
    # a put at a positive rate, a call with a yield: both sides; without a yield puts alone
    both = build_tables([0.04], 0.013)
    assert boundary_table.cache_info().misses == both
    assert build_tables([0.05]) == both // 2
    built = boundary_table.cache_info().misses
    for years in (2e-7, 1 / 8760, 0.02, 0.2):
        for vol in (0.1, 0.3, 1.5):
            option_greeks(100.0, 101.0, years, vol, True, 0.04, 0.013)
            option_greeks(100.0, 99.0, years, vol, False, 0.04, 0.013)
    assert boundary_table.cache_info().misses == built


def test_no_rates_at_all_leave_nothing_to_build():
    assert build_tables([0.0]) == 0
    assert build_tables([]) == 0


def test_the_background_is_the_callers():
    jobs = []
    boundary_table.cache_clear()
    warm_up_in_background(jobs.append, rates=[0.03])
    assert boundary_table.cache_info().misses == 0
    thread = threading.Thread(target=jobs[0])
    thread.start()
    # prices asked meanwhile are those asked later
    meanwhile = option_greeks(100.0, 99.0, 0.02, 0.3, False, 0.03)
    thread.join()
    assert meanwhile == option_greeks(100.0, 99.0, 0.02, 0.3, False, 0.03)
    assert boundary_table.cache_info().currsize > 50

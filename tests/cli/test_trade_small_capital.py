"""Small accounts of ST0CK: the size is cut to what may be risked, or the refusal comes first."""

from datetime import date

import pytest

DAY = date(2018, 2, 5)


@pytest.fixture(scope="module")
def answer(finished_run, tmp_path_factory):
    """The report of a day of st0cka by the capital it began with."""

    def of(document_of, capital):
        folder = tmp_path_factory.mktemp("runs")
        finished_run(folder, "st0cka", DAY, f"simulation.starting_cash={capital}")
        return document_of("report", "last", "--set", f"desk.runs_dir={folder}")

    return of


def test_a_size_is_cut_to_a_quarter_of_the_equity(answer, document_of):
    at_full_size, cut = answer(document_of, 5_000), answer(document_of, 2_000)
    assert float(at_full_size["nav_change"]) == pytest.approx(2 * float(cut["nav_change"]), abs=0.01) != 0.0


def test_where_no_share_is_left_the_reason_comes_first(answer, document_of):
    verdict = answer(document_of, 500)["verdict"]
    assert verdict.startswith("no trade: the risk gate refuses")
    assert verdict.index("500.00") < verdict.index("target")

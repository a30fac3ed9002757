from scalpdesk.pricing import warm_up


def test_warming_up_runs_every_path():
    assert warm_up() == 14

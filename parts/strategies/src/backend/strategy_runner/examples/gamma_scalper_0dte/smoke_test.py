"""``python -m backend.strategy_runner.examples.gamma_scalper_0dte.smoke_test``, as on the page."""

from backend.strategy_runner.examples.gamma_scalper_0dte import start

if __name__ == "__main__":
    start("smoke_test.py")

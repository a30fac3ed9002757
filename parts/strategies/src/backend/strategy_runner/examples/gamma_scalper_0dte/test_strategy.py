"""``python -m backend.strategy_runner.examples.gamma_scalper_0dte.test_strategy``, as on the page."""

from backend.strategy_runner.examples.gamma_scalper_0dte import start

if __name__ == "__main__":
    start("test_strategy.py")

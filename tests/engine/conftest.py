import pytest

from scalpdesk.marketdata.triggers import EveryQuote
from scalpdesk_testing.kit.desk import HandDesk, Scripted


@pytest.fixture
def desk():
    def build(strategy=None, **engine):
        one = HandDesk(strategy or Scripted(triggers=[EveryQuote(0)]), **engine)
        one.open()
        one.go_to("10:00")
        return one

    return build

import pytest

from fakes.desk import HandDesk, Scripted
from scalpdesk.marketdata.triggers import EveryQuote


@pytest.fixture
def desk():
    def build(strategy=None, **engine):
        one = HandDesk(strategy or Scripted(triggers=[EveryQuote(0)]), **engine)
        one.open()
        one.go_to("10:00")
        return one

    return build

"""Which accounts at Deribit the desk takes: by currency and by margin model, over its websocket."""

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk_deribit.wire import margin_model

CARRIED, OTHERS = "segregated_sm", ("segregated_pm", "cross_sm", "cross_pm", "a_new_one")


def says(bench, model):
    """Let the venue name a margin model, or say in its former way what an account has."""
    api = bench.server.protocol.api
    receive, known = api.receive, set()

    def change(text):
        if isinstance(text, bytes):
            return change(text.decode()).encode()
        return text.replace('"margin_model":"segregated_sm"', model)

    def take(session, text):
        if id(session) not in known:
            known.add(id(session))
            send = session.send
            session.send = lambda answer: send(change(answer))
        receive(session, text)

    api.receive = take


@pytest.mark.rows("model", OTHERS)
def test_an_account_under_another_margin_model_is_refused_by_name(on_bench, model):
    async def scenario(bench):
        says(bench, f'"margin_model":"{model}"')
        with pytest.raises(ConfigError) as refused:
            await bench.gateway().connect()
        assert refused.value.value == model
        assert CARRIED in refused.value.what

    on_bench(scenario)


@pytest.mark.rows(
    ("said", "model"),
    [
        ('"portfolio_margining_enabled":true', "segregated_pm"),
        ('"cross_collateral_enabled":true', "cross_sm"),
        ('"cross_collateral_enabled":true,"portfolio_margining_enabled":true', "cross_pm"),
    ],
)
def test_a_model_that_only_flags_tell_is_refused_as_well(on_bench, said, model):
    async def scenario(bench):
        says(bench, said)
        with pytest.raises(ConfigError) as refused:
            await bench.gateway().connect()
        assert refused.value.value == model

    on_bench(scenario)


def test_the_standard_model_is_carried_and_its_change_is_reported_once(on_bench):
    async def scenario(bench):
        desk = await bench.connected()

        def told():
            return [each for each in desk.notices if each.name == "margin_model_changed"]

        await desk.gateway.snapshot()
        assert told() == []
        says(bench, '"margin_model":"cross_sm"')
        for _ in range(3):
            await desk.gateway.snapshot()
        await desk.until(told)
        (notice,) = told()
        assert "cross_sm" in notice.detail

    on_bench(scenario)


@pytest.mark.rows("flag", [None, False])
def test_an_account_that_says_nothing_else_has_the_standard_model(flag):
    assert margin_model({"portfolio_margining_enabled": flag}) == CARRIED


@pytest.mark.rows("currency", ["USD", "EUR", "ETH"])
def test_a_currency_without_accounts_is_refused_with_those_there_are(on_bench, currency):
    async def scenario(bench):
        with pytest.raises(ConfigError) as refused:
            await bench.gateway(currency=currency).connect()
        assert (refused.value.where, refused.value.value) == ("desk.currency", currency)
        assert "BTC" in refused.value.fix

    on_bench(scenario)


@pytest.mark.rows("symbol", ["BTC_USDC-PERPETUAL", "BTC-25DEC26", "SPY"])
def test_what_is_no_inverse_perpetual_is_refused_and_not_taken_for_one(on_bench, symbol):
    async def scenario(bench):
        gateway = (await bench.connected()).gateway
        with pytest.raises(ConfigError) as refused:
            await gateway.resolve(symbol)
        assert (refused.value.where, refused.value.value) == ("underlying", symbol)
        assert (await gateway.resolve("BTC-PERPETUAL")).is_inverse

    on_bench(scenario)

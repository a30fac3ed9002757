"""Messages that the gateway reads and the served exchange writes: no half forgets a field unnoticed."""

import msgspec
import pytest

from scalpdesk_deribit import messages, statements, wire

FORMS = [
    each
    for each in vars(messages).values()
    if isinstance(each, type) and issubclass(each, messages.WireMessage)
]


def test_a_writer_names_every_field_and_a_reader_takes_its_absence_for_null():
    with pytest.raises(TypeError, match="required"):
        messages.PositionMessage(instrument_name="X", size=1)
    found = wire.read({"instrument_name": "X", "size": 1}, messages.PositionMessage)
    assert (found.size, found.average_price, found.mark_price) == (1, None, None)
    assert msgspec.to_builtins(found) == {"instrument_name": "X", "size": 1}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_is_read_from_what_it_is_written_as(form):
    sample = {
        field.name: [] if "list" in str(field.type) else None
        for field in msgspec.structs.fields(form)
        if field.required
    }
    made = form(**sample)
    assert msgspec.to_builtins(wire.read(msgspec.to_builtins(made), form)) == {
        name: value for name, value in msgspec.to_builtins(made).items() if value is not None
    }


def test_the_columns_of_a_table_are_fields_of_the_log():
    assert set(statements.COLUMNS.values()) <= set(messages.LogLine.__struct_fields__)


@pytest.mark.parametrize("channel", ["ticker.X.100ms", "quote.X"])
def test_a_ticker_is_decoded_at_once_as_any_other_frame_is(channel):
    data = {"instrument_name": "X", "timestamp": 5, "best_bid_price": 0.5, "best_bid_amount": 2}
    frame = {"method": "subscription", "params": {"channel": channel, "data": data}}
    raw = msgspec.json.encode(frame).decode()
    at_once, plain = wire.decode_ticker(raw), wire.decode_frame(raw)
    assert plain == wire.Notification(channel, data)
    if channel == "quote.X":
        assert at_once is None
    else:
        assert at_once == (channel, wire.read(data, messages.Ticker))
    for spoilt in ({"timestamp": "soon"}, {"best_bid_price": "x"}):
        raw = msgspec.json.encode({"method": "subscription", "params": {"channel": channel, "data": spoilt}})
        assert wire.decode_ticker(raw.decode()) is None

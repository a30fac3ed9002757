import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk_alpaca.order_messages import JudgedReply, RateLimit, ReplyVerdict, judge, rate_limit


@pytest.mark.parametrize(
    ("status", "code", "message", "verdict"),
    [
        (200, None, "", ReplyVerdict.DONE),
        (204, None, "", ReplyVerdict.DONE),
        (207, None, "", ReplyVerdict.DONE),
        (401, 40110000, "request is not authorized", ReplyVerdict.UNAUTHORIZED),
        (403, None, "forbidden.", ReplyVerdict.UNAUTHORIZED),
        (403, 40310000, "insufficient buying power", ReplyVerdict.REFUSED),
        (
            403,
            40310000,
            "insufficient qty available for order (requested: 5, available: 2)",
            ReplyVerdict.REFUSED,
        ),
        (403, 40310000, "potential wash trade detected. use complex orders", ReplyVerdict.REFUSED),
        (403, 40310000, "account not eligible to trade uncovered option contracts", ReplyVerdict.REFUSED),
        (403, 40310000, "account not authorized to trade options", ReplyVerdict.REFUSED),
        (403, 40310000, "cannot open a short sell while a long buy order is open", ReplyVerdict.REFUSED),
        (403, 40310100, "trade denied due to pattern day trading protection", ReplyVerdict.REFUSED),
        (403, 40310000, "trading in forbidden. symbols", ReplyVerdict.REFUSED),
        (403, 40110000, "request is not authorized", ReplyVerdict.UNAUTHORIZED),
        (403, None, "access key verification failed : no such key", ReplyVerdict.UNAUTHORIZED),
        (404, 40410000, "order not found for x", ReplyVerdict.NOT_FOUND),
        (422, 40010001, "client_order_id must be unique", ReplyVerdict.DUPLICATE),
        (422, 42210000, "client_order_id must be unique", ReplyVerdict.DUPLICATE),
        (422, 40010001, "qty must be > 0", ReplyVerdict.REFUSED),
        (422, 42210000, "order parameters are not changed", ReplyVerdict.REFUSED),
        (422, 42210000, 'order is already in "filled" state', ReplyVerdict.TOO_LATE),
        (422, 42210000, "unable to replace order, order isn't sent to exchange yet", ReplyVerdict.TOO_LATE),
        (422, 42210000, "qty must be > filled_qty", ReplyVerdict.TOO_LATE),
        (422, 42210000, "order already replaced", ReplyVerdict.TOO_LATE),
        (422, 42210000, "cannot replace order in filled status", ReplyVerdict.TOO_LATE),
        (422, 42210000, "unable to replace order in current state", ReplyVerdict.TOO_LATE),
        (422, 42210000, "only open orders can be replaced", ReplyVerdict.TOO_LATE),
        (422, 42210000, "invalid limit_price 1.001. sub-penny increment", ReplyVerdict.REFUSED),
        (429, 42910000, "too many requests.", ReplyVerdict.LIMITED),
        (429, 42910000, "rate limit exceeded", ReplyVerdict.LIMITED),
        (500, 50010000, "internal server error occurred", ReplyVerdict.UNKNOWN),
        (502, None, "bad gateway", ReplyVerdict.UNKNOWN),
        (503, None, "", ReplyVerdict.UNKNOWN),
        (504, None, "", ReplyVerdict.UNKNOWN),
        (408, None, "", ReplyVerdict.UNKNOWN),
        (302, None, "", ReplyVerdict.UNKNOWN),
        (409, None, "", ReplyVerdict.UNKNOWN),
    ],
)
def test_an_answer_proves_what_its_status_and_text_say_together(status, code, message, verdict):
    answer = judge(status, json.dumps({"code": code, "message": message}).encode())
    assert answer.verdict is verdict


def test_the_reason_is_the_venues_own_words():
    answer = judge(403, b'{"code":40310000,"message":"insufficient buying power","cost_basis":"9"}')
    assert answer.reason == "HTTP 403 40310000 insufficient buying power"


def test_a_refusal_may_carry_more_than_texts():
    body = {"code": 40310000, "message": "insufficient qty available", "related_orders": ["a", "b"]}
    answer = judge(403, json.dumps(body).encode())
    assert answer == JudgedReply(ReplyVerdict.REFUSED, "HTTP 403 40310000 insufficient qty available")


@given(st.text(max_size=60).filter(lambda text: text.lower() != "forbidden."))
def test_a_refusal_of_one_order_never_condemns_the_keys(message):
    body = json.dumps({"code": 40310000, "message": f"account {message}"}).encode()
    assert judge(403, body).verdict is ReplyVerdict.REFUSED


@given(st.integers(300, 599), st.binary(max_size=200))
def test_no_body_whatever_makes_a_failure_a_success_or_a_crash(status, body):
    answer = judge(status, body)
    assert answer.verdict is not ReplyVerdict.DONE
    assert answer.reason.isprintable()


@given(st.integers(500, 599), st.text(max_size=60))
def test_a_server_error_is_never_a_final_refusal(status, message):
    body = json.dumps({"code": 40310000, "message": message}).encode()
    assert judge(status, body).verdict is ReplyVerdict.UNKNOWN


def test_the_stated_rate_limit():
    stated = {"x-ratelimit-limit": "200", "x-ratelimit-remaining": "17", "x-ratelimit-reset": "1795185060"}
    assert rate_limit(stated) == RateLimit(200, 17, 1_795_185_060)
    least = {"x-ratelimit-limit": "1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "0"}
    assert rate_limit(least) == RateLimit(1, 0, 0)
    full = {"x-ratelimit-limit": "200", "x-ratelimit-remaining": "200", "x-ratelimit-reset": "1"}
    assert rate_limit(full) == RateLimit(200, 200, 1)


@pytest.mark.parametrize(
    ("limit", "remaining", "reset"),
    [
        ("0", "0", "1"),
        ("200", "201", "1"),
        ("200", "-1", "1"),
        ("x", "1", "1"),
        ("200", "1", "1e9"),
        ("200", "1", "-5"),
    ],
)
def test_a_rate_limit_that_makes_no_sense_is_none(limit, remaining, reset):
    headers = {"x-ratelimit-limit": limit, "x-ratelimit-remaining": remaining, "x-ratelimit-reset": reset}
    assert rate_limit(headers) is None
    assert rate_limit({}) is None

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.venues.alpaca.transport import LARGEST_HEAD_BYTES, AnswerReader, BadAnswer

BODIES = st.binary(max_size=60)


def plain(body, status=200, extra=b""):
    return b"HTTP/1.1 %d Fine\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), extra, body)


def chunked(pieces, trailer=b""):
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


def fed_in_pieces(raw, cuts):
    reader = AnswerReader()
    answers = []
    at = 0
    for cut in [*sorted(cuts), len(raw)]:
        answer = reader.feed(raw[at:cut])
        if answer is not None:
            answers.append(answer)
        at = cut
    (answer,) = answers
    return answer


@given(BODIES, st.sampled_from([200, 207, 403, 422, 500]), st.data())
def test_an_answer_of_stated_length_in_any_pieces(body, status, data):
    raw = plain(body, status, b"X-RateLimit-Limit:  200 \r\n")
    answer = fed_in_pieces(raw, data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=6)))
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers["x-ratelimit-limit"] == "200"
    assert answer.keeps_alive


@given(st.lists(BODIES, max_size=4), st.data())
def test_an_answer_in_chunks_in_any_pieces(pieces, data):
    raw = chunked(pieces, trailer=data.draw(st.sampled_from([b"", b"Digest: x\r\n"])))
    answer = fed_in_pieces(raw, data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=6)))
    assert answer.body == b"".join(pieces)


def test_no_content_has_no_body_and_keeps_the_connection():
    answer = AnswerReader().feed(b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n")
    assert (answer.status, answer.body, answer.keeps_alive) == (204, b"", True)


def test_what_comes_before_the_answer_is_passed_over():
    answer = AnswerReader().feed(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + plain(b"{}"))
    assert (answer.status, answer.body) == (200, b"{}")


def test_a_body_may_end_with_the_connection():
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.0 200 OK\r\n\r\nabc") is None
    assert reader.ends_here()
    assert (reader.answer.body, reader.answer.keeps_alive) == (b"abc", False)


def test_a_broken_body_does_not_end_with_the_connection():
    for raw in (b"", b"HTTP/1.1 200", plain(b"abc")[:-1], chunked([b"abc"])[:-3]):
        reader = AnswerReader()
        reader.feed(raw)
        assert not reader.ends_here()


@pytest.mark.parametrize(
    ("said", "keeps"), [(b"", True), (b"Connection: close\r\n", False), (b"Connection: keep-alive\r\n", True)]
)
def test_the_server_says_whether_the_connection_stays(said, keeps):
    assert AnswerReader().feed(plain(b"x", extra=said)).keeps_alive is keeps


@pytest.mark.parametrize(
    "raw",
    [
        b"SPDY/3 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n Folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore",
        b"x" * (LARGEST_HEAD_BYTES + 1),
    ],
)
def test_bytes_that_are_no_answer_are_refused(raw):
    with pytest.raises(BadAnswer):
        AnswerReader().feed(raw)


@given(st.binary(max_size=200), st.integers(0, 80))
def test_any_bytes_are_an_answer_a_part_of_one_or_refused(noise, at):
    raw = plain(b'{"a":1}')
    reader = AnswerReader()
    try:
        answer = reader.feed(raw[:at] + noise + raw[at:])
    except BadAnswer:
        return
    assert answer is None or 200 <= answer.status < 600

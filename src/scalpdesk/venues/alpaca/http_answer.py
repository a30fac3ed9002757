"""Answers of HTTP/1.1, byte by byte (RFC 9112): head, then a body of stated length or in chunks. Pure."""

import re

LARGEST_HEAD_BYTES = 64 * 1024
LARGEST_BODY_BYTES = 64 * 1024 * 1024
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: [^\r\n]*)?")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})(?:[ \t]*;[^\r\n]*)?")


class BadAnswer(ValueError):  # noqa: N818 - ends the connection, never the desk
    """Bytes that are no answer."""


class RawAnswer:
    """One answer; names of headers in small letters."""

    __slots__ = ("body", "headers", "keeps_alive", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes, *, keeps_alive: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.keeps_alive = keeps_alive


class AnswerReader:
    """Reads one answer from however many pieces it comes in."""

    def __init__(self) -> None:
        self.answer: RawAnswer | None = None
        self._buffer = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._keeps_alive = True
        self._length: int | None = None
        """Of the body; None for chunks and for a body that ends with the connection."""
        self._is_chunked = False
        self._has_head = False

    def feed(self, data: bytes) -> RawAnswer | None:
        """Take more bytes; return the answer once it is whole.

        Raises
        ------
        BadAnswer
            When the bytes are no answer, or more than one.
        """
        self._buffer += data
        while not self._has_head:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > LARGEST_HEAD_BYTES:
                    raise BadAnswer("the head of the answer does not end")
                return None
            self._read_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            # 100 and 103 come before the answer itself
            self._has_head = self._status >= 200
        if len(self._buffer) > LARGEST_BODY_BYTES:
            raise BadAnswer("the answer is too large")
        body = self._chunks() if self._is_chunked else self._plain()
        if body is None:
            return None
        self.answer = RawAnswer(self._status, self._headers, body, keeps_alive=self._keeps_alive)
        return self.answer

    def ends_here(self) -> bool:
        """Tell the reader that the connection ended; return whether that completes an answer."""
        if not self._has_head or self._is_chunked or self._length is not None or self.answer is not None:
            return False
        self.answer = RawAnswer(self._status, self._headers, bytes(self._buffer), keeps_alive=False)
        return True

    def _read_head(self, head: bytes) -> None:
        lines = head.split(b"\r\n")
        match = _STATUS.fullmatch(lines[0])
        if match is None:
            raise BadAnswer("no status line")
        self._status = int(match[2])
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not name or name.strip() != name:
                raise BadAnswer("a header without a name")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        self._headers = headers
        said = headers.get("connection", "").lower()
        self._keeps_alive = "close" not in said and (match[1] == b"1" or "keep-alive" in said)
        self._is_chunked = headers.get("transfer-encoding", "").lower().endswith("chunked")
        self._length = self._stated_length(headers)

    def _stated_length(self, headers: dict[str, str]) -> int | None:
        if self._status in (204, 304):
            self._is_chunked = False
            return 0
        stated = headers.get("content-length")
        if stated is None or self._is_chunked:
            return None
        if not (stated.isascii() and stated.isdigit()) or int(stated[:12]) > LARGEST_BODY_BYTES:
            raise BadAnswer("a length that is none")
        return int(stated)

    def _plain(self) -> bytes | None:
        if self._length is None:
            self._keeps_alive = False
            return None
        if len(self._buffer) < self._length:
            return None
        if len(self._buffer) > self._length:
            raise BadAnswer("bytes after the answer")
        return bytes(self._buffer)

    def _chunks(self) -> bytes | None:
        """Return the body of all chunks; None while the last one is not there."""
        body = bytearray()
        at = 0
        while True:
            line_end = self._buffer.find(b"\r\n", at)
            if line_end < 0:
                return None
            match = _SIZE.fullmatch(bytes(self._buffer[at:line_end]))
            if match is None:
                raise BadAnswer("a chunk without a size")
            size = int(match[1], 16)
            if size == 0:
                return self._after_trailers(line_end, bytes(body))
            start, end = line_end + 2, line_end + 2 + size
            if len(self._buffer) < end + 2:
                return None
            if self._buffer[end : end + 2] != b"\r\n":
                raise BadAnswer("a chunk that does not end")
            body += self._buffer[start:end]
            at = end + 2

    def _after_trailers(self, at: int, body: bytes) -> bytes | None:
        end = self._buffer.find(b"\r\n\r\n", at)
        if end < 0:
            return None
        if len(self._buffer) > end + 4:
            raise BadAnswer("bytes after the answer")
        return body

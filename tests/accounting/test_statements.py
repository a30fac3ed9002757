from decimal import Decimal

import pytest

from scalpdesk.accounting.statements import json_rows
from scalpdesk.core.errors import DataError


def rows_of(text):
    return json_rows(text.encode(), ["id", "kind"], answers="GET /lines", listed=lambda page: page["lines"])


def test_lines_of_all_pages_come_in_order_with_their_numbers_as_they_were_written():
    line = '{"id": %d, "kind": "x", "fee": 0.10}'
    pages = [f'{{"lines": [{line % 1}, {line % 2}]}}', '{"lines": []}', f'{{"lines": [{line % 3}]}}']
    for between in ("", "\n", ",\r\n"):
        rows = rows_of(between.join(pages))
        assert [row["id"] for row in rows] == [1, 2, 3]
        assert {str(row["fee"]) for row in rows} == {"0.10"}
        assert all(isinstance(row["fee"], Decimal) for row in rows)


@pytest.mark.parametrize(
    "page",
    [
        '{"lines": [{"id": 1}]}',
        '{"lines": [{"id": 1, "kind": "x"}, []]}',
        '{"lines": {"id": 1, "kind": "x"}}',
        '{"lines": null}',
    ],
)
def test_a_page_without_such_lines_is_refused_with_what_to_save(page):
    with pytest.raises(DataError) as refused:
        rows_of('{"lines": [{"id": 1, "kind": "x"}]}' + page)
    assert refused.value.where == "statement"
    assert "GET /lines" in refused.value.fix

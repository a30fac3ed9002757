"""Cells of a table as people write them, read by SQL: numbers, dates, times of day, instants, rights.

Each function takes the SQL of a text and returns the SQL of its value: null where it cannot be read.
"""

from scalpdesk.datasets.importers.staged import EXCHANGE_ZONE
from scalpdesk.datasets.store import sql_text

_DAY_ORDERS = {"mdy": ("%m/%d/%y", "%m/%d/%Y"), "dmy": ("%d/%m/%y", "%d/%m/%Y")}
"""Formats of a date that begins with its month or its day."""
MONTH_OR_DAY_FIRST = r"^\s*(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})\b"
_EXCEL_DAYS = r"[34]\d{4}([.,]\d+)?"
"""Days since 1899-12-30 of the years 1982 to 2036."""
_CLOCK = r"(\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s*([AaPp]\.?[Mm]\.?)?)"
_COMPACT_DAY = r"(19|20)\d{6}"
_NAMED_DAYS = ("%d-%b-%y", "%d-%b-%Y", "%d%b%y", "%d%b%Y", "%b-%d-%y", "%b-%d-%Y", "%B-%d-%Y", "%d-%B-%Y")
_UNITS = {"9,10": 1_000_000, "12,13": 1_000, "15,16": 1}
"""Microseconds of an epoch by its number of digits."""


def number(text: str, *, comma: bool) -> str:
    """Return a number that may have a sign of money or groups of thousands; ``comma`` marks its decimals."""
    group, mark = (".", ",") if comma else (",", ".")
    bare = rf"regexp_replace({text}, '[$€£\s\x{{A0}}\x{{202F}}’''{group}]|USD', '', 'g')"
    value = f"try_cast(replace({bare}, '{mark}', '.') AS DOUBLE)"
    return f"CASE WHEN isfinite({value}) THEN {value} END"


def day(text: str, order: str) -> str:
    """Return a date: ISO, compact, of an Excel sheet, of an epoch, with a month's name, or in an order.

    A time of day behind it is left out: the date counts as it is written.
    """
    plain = rf"regexp_replace(trim({text}), '[.,]0+$|[T\s]+\d{{1,2}}:\d\d.*$', '')"
    apart = rf"regexp_replace({plain}, '[\s,./-]+', '-', 'g')"
    named = ", ".join(map(sql_text, _NAMED_DAYS))
    first = ", ".join(sql_text(each.replace("/", "-")) for each in _DAY_ORDERS[order])
    return (
        f"CASE WHEN regexp_full_match({plain}, '{_EXCEL_DAYS}') "
        f"THEN DATE '1899-12-30' + left({plain}, 5)::INTEGER "
        f"WHEN regexp_full_match({plain}, '{_COMPACT_DAY}') THEN try_strptime({plain}, '%Y%m%d')::DATE "
        rf"WHEN regexp_full_match({plain}, '\d{{6}}') THEN try_strptime({plain}, '%y%m%d')::DATE "
        rf"WHEN regexp_full_match({plain}, '\d{{9,19}}') THEN ({epoch_instant(plain)})::DATE "
        rf"WHEN regexp_matches({plain}, '^\d{{4}}[-/.]') THEN try_strptime({apart}, '%Y-%m-%d')::DATE "
        f"WHEN regexp_matches({plain}, '[A-Za-z]') THEN try_strptime({apart}, [{named}])::DATE "
        f"ELSE try_strptime({apart}, [{first}])::DATE END"
    )


def time_of_day(text: str, *, unit: str = "") -> str:
    """Return seconds since midnight: a clock, ``HHMM``, ``HHMMSS``, milliseconds, a part of the day, hours.

    ``unit`` is ``ms`` or ``hours`` where the column's name says so.
    """
    bare = f"replace(trim({text}), ',', '.')"
    if unit == "ms":
        return f"try_cast({bare} AS DOUBLE) / 1000"
    if unit == "hours":
        return f"round(try_cast({bare} AS DOUBLE) * 3600)"
    hour, minute = f"split_part({bare}, ':', 1)::INTEGER", f"left(split_part({bare}, ':', 2), 2)::INTEGER"
    second = rf"coalesce(try_cast(regexp_extract({bare}, ':\d+:(\d+([.]\d+)?)', 1) AS DOUBLE), 0)"
    hour = (
        f"({hour} + CASE WHEN regexp_matches({bare}, '[Pp]\\.?[Mm]') AND {hour} < 12 THEN 12 "
        f"WHEN regexp_matches({bare}, '[Aa]\\.?[Mm]') AND {hour} = 12 THEN -12 ELSE 0 END)"
    )
    digits = f"lpad({bare}, 6, '0')"
    packed = (
        f"left({digits}, 2)::INTEGER * 3600 + substr({digits}, 3, 2)::INTEGER * 60 "
        f"+ right({digits}, 2)::INTEGER"
    )
    short = f"lpad({bare}, 4, '0')"
    return (
        f"CASE WHEN regexp_full_match({bare}, '{_CLOCK}') THEN {hour} * 3600 + {minute} * 60 + {second} "
        rf"WHEN regexp_full_match({bare}, '\d{{7,8}}') THEN {bare}::DOUBLE / 1000 "
        rf"WHEN regexp_full_match({bare}, '\d{{5,6}}') THEN {packed} "
        rf"WHEN regexp_full_match({bare}, '\d{{3,4}}') THEN "
        f"left({short}, 2)::INTEGER * 3600 + right({short}, 2)::INTEGER * 60 "
        rf"WHEN regexp_full_match({bare}, '0?\.\d+') THEN round({bare}::DOUBLE * 86400) "
        rf"WHEN regexp_full_match({bare}, '\d{{1,2}}(\.\d+)?') THEN round({bare}::DOUBLE * 3600) END"
    )


def has_time(text: str) -> str:
    """Return whether a text has a date and a time of day."""
    return (
        rf"(regexp_matches({text}, ':\d\d') AND NOT regexp_full_match(trim({text}), '{_CLOCK}')) OR "
        rf"regexp_full_match(trim({text}), '[34]\d{{4}}[.,]\d*[1-9]\d*') OR "
        rf"regexp_full_match(trim({text}), '\d{{9,10}}(\.\d+)?|\d{{12,19}}|{_COMPACT_DAY}[ T]\d{{4,6}}')"
    )


def local_time(text: str, order: str) -> str:
    """Return the date and time that a text shows, without its zone."""
    bare = f"trim({text})"
    date_part = rf"regexp_replace({bare}, '[T\s,]*{_CLOCK}.*$', '')"
    clock = f"regexp_extract({bare}, '{_CLOCK}', 1)"
    compact = f"regexp_full_match({bare}, '{_COMPACT_DAY}[ T]\\d{{4,6}}')"
    return (
        rf"CASE WHEN regexp_full_match({bare}, '\d{{9,10}}(\.\d+)?|\d{{12,19}}') THEN {epoch_instant(bare)} "
        f"WHEN regexp_full_match({bare}, '{_EXCEL_DAYS}') THEN TIMESTAMP '1899-12-30 00:00:00' "
        f"+ to_seconds(round(replace({bare}, ',', '.')::DOUBLE * 86400)) "
        f"WHEN {compact} THEN {moment(day(f'left({bare}, 8)', order), time_of_day(f'substr({bare}, 10)'))} "
        f"ELSE {moment(day(date_part, order), time_of_day(clock))} END"
    )


def moment(date_sql: str, seconds_sql: str) -> str:
    """Return the timestamp of a date and seconds of a day; rounded up: a row is not known before."""
    micros = f"ceil(round({seconds_sql} * 1e9) / 1e3)::BIGINT"
    return f"CASE WHEN {seconds_sql} < 86400 THEN {date_sql} + to_microseconds({micros}) END"


def zone(text: str) -> str:
    """Return the zone that a text ends with: an offset in minutes, the exchange's by name, or null.

    An epoch is in UTC. A zone that is not known comes back as it is written.
    """
    bare = f"trim({text})"
    tail = rf"trim(regexp_extract({bare}, ':\d\d(:\d\d([.,]\d+)?)?\s*([AaPp]\.?[Mm]\.?)?\s*(.*)$', 4))"
    offset = rf"regexp_replace({tail}, ':', '')"
    past_hour = f"coalesce(try_cast(substr({offset}, 4, 2) AS INTEGER), 0)"
    minutes = f"(left({offset}, 1) || '1')::INTEGER * (substr({offset}, 2, 2)::INTEGER * 60 + {past_hour})"
    names = "('ET', 'EST', 'EDT', 'NEW YORK', 'AMERICA/NEW_YORK')"
    return (
        rf"CASE WHEN regexp_full_match({bare}, '\d{{9,10}}(\.\d+)?|\d{{12,19}}') THEN '0' "
        f"WHEN {tail} = '' THEN NULL WHEN upper({tail}) IN ('Z', 'UTC', 'GMT') THEN '0' "
        f"WHEN upper({tail}) IN {names} THEN {sql_text(EXCHANGE_ZONE)} "
        rf"WHEN regexp_full_match({tail}, '[+-]\d\d:?(\d\d)?') THEN ({minutes})::VARCHAR ELSE {tail} END"
    )


def right(text: str) -> str:
    """Return ``C`` of call, CE, 67 or true, and ``P`` of put, PE, 80 or false."""
    word = f"lower(trim({text}))"
    return (
        f"CASE WHEN {word} IN ('67', '1', 'true') OR regexp_full_match({word}, 'c|ce|calls?') THEN 'C' "
        f"WHEN {word} IN ('80', '0', 'false') OR regexp_full_match({word}, 'p|pe|puts?') THEN 'P' END"
    )


def epoch_instant(text: str) -> str:
    """Return the UTC timestamp of a count since 1970, whose digits say its unit; rounded up."""
    cases = " ".join(
        rf"WHEN regexp_full_match({text}, '\d{{{digits}}}(\.\d+)?') "
        f"THEN make_timestamp(ceil({text}::DOUBLE * {scale})::BIGINT)"
        for digits, scale in _UNITS.items()
    )
    return f"CASE {cases} ELSE make_timestamp((try_cast({text} AS BIGINT) + 999) // 1000) END"

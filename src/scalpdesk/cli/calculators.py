"""``scalpdesk price`` and ``contract``: calculators over :mod:`scalpdesk.pricing`; an option's class.

Tables are in traders' units (theta a day, vega a point); ``--json`` keeps the raw units (theta a year,
vega per 1.00 of volatility) and says so.
"""

from collections.abc import Callable
from typing import Any

import click

from scalpdesk.cli.command import PlugType, desk_command, settings_from, settings_options
from scalpdesk.cli.output import new_table, print_answer, print_json, print_table, table_of
from scalpdesk.core.errors import EXIT_FAILED, EXIT_OK, ConfigError
from scalpdesk.core.flags import read_date
from scalpdesk.core.sockets import PRICING_MODELS
from scalpdesk.core.units import DAYS_PER_YEAR

RAW_UNITS = {
    "price": "currency per unit of the underlying",
    "delta": "units of the underlying per option unit",
    "gamma": "delta per 1.00 of the underlying",
    "theta": "price per year",
    "vega": "price per 1.00 of volatility",
    "rho": "price per 1.00 of rate",
    "vanna": "delta per 1.00 of volatility",
    "volga": "vega per 1.00 of volatility",
    "charm": "delta per year",
}
_TRADER_UNITS: tuple[tuple[str, str, float], ...] = (
    ("price", "per unit", 1.0),
    ("delta", "", 1.0),
    ("gamma", "delta per 1.00 of spot", 1.0),
    ("theta", "per calendar day", 1.0 / DAYS_PER_YEAR),
    ("vega", "per vol point", 0.01),
    ("rho", "per 1 % of rate", 0.01),
    ("vanna", "delta per vol point", 0.01),
    ("volga", "vega per vol point, per point", 0.0001),
    ("charm", "delta per calendar day", 1.0 / DAYS_PER_YEAR),
)
"""Name, unit shown, and what a raw number is multiplied by to be in it."""

BETWEEN = {
    "below_intrinsic": "the price is below the option's intrinsic value: no volatility gives it",
    "above_maximum": "the price is above all that the option can be worth: no volatility gives it",
    "expired": "the option has expired: its price does not depend on volatility",
    "bad_input": "the price is no number of zero or more",
}


def fraction(largest: float) -> Callable[[str], float]:
    """Return a reader of fractions: 0.18 or 18%.

    A bare number above ``largest`` is refused: it is a percentage whose sign was forgotten.
    """

    def read(text: str) -> float:
        word = text.strip()
        try:
            number = float(word.removesuffix("%")) / (100.0 if word.endswith("%") else 1.0)
        except ValueError as problem:
            raise click.BadParameter(
                f"'{word}' is not a fraction such as 0.18 or a percentage such as 18%"
            ) from problem
        if not word.endswith("%") and abs(number) > largest:
            raise click.BadParameter(f"'{word}' is {number:.0%}; write {word}% if percent is meant")
        return number

    return read


def dividend(text: str) -> tuple[float, float]:
    """Read DAYS:AMOUNT as (years to the ex-date, amount)."""
    days, _, amount = text.partition(":")
    try:
        return float(days) / DAYS_PER_YEAR, float(amount)
    except ValueError as problem:
        raise click.BadParameter(f"'{text}' is not DAYS:AMOUNT, such as 12:0.75") from problem


_TERMS = ("rate", "dividend_yield", "dividends", "style", "model")
_RATE = fraction(largest=1.0)
VOL = fraction(largest=5.0)


def _for_pricing(terms: dict[str, Any]) -> dict[str, Any]:
    return terms | {"dividends": terms["dividends"] or None}


def _years(days: float | None, years: float | None) -> float:
    if (days is None) == (years is None):
        raise ConfigError("give the time to expiry once", where="--days, --years", fix="--days 30")
    name, given = ("--years", years) if years is not None else ("--days", days or 0.0)
    if not 0.0 <= given < float("inf"):
        raise ConfigError(
            "the time to expiry is a number of at least 0", where=name, value=given, fix="--days 30"
        )
    return years if years is not None else given / DAYS_PER_YEAR


@desk_command(
    "price",
    example=(
        "scalpdesk price --spot 590 --strike 590 --days 30 --vol 16% --rate 4%",
        "scalpdesk price --spot 590 --strike 600 --days 1 --vol 0.14 --put --style european --json",
        "scalpdesk price --paid 10.85 --spot 590 --strike 590 --days 30 --rate 4%",
    ),
)
@click.option("--spot", type=float, required=True, help="Price of the underlying (or forward).")
@click.option("--strike", type=float, required=True)
@click.option("--days", type=float, help="Calendar days to expiry (ACT/365).")
@click.option("--years", type=float, help="Years to expiry, instead of --days.")
@click.option("--rate", type=_RATE, default="0", metavar="R", help="Continuous rate: 0.04 or 4%.")
@click.option("--yield", "dividend_yield", type=_RATE, default="0", metavar="Q", help="Continuous yield.")
@click.option(
    "--dividend",
    "dividends",
    type=dividend,
    metavar="DAYS:AMOUNT",
    multiple=True,
    help="Cash dividend; may be repeated.",
)
@click.option("--style", type=click.Choice(["american", "european"]), default="american")
@click.option(
    "--model",
    type=PlugType(PRICING_MODELS),
    default="bsm",
    help="black76 and inverse: --spot is the forward; spot: the spot falls by each dividend.",
)
@click.option("--vol", type=VOL, metavar="V", help="Annual volatility: 0.16 or 16%.")
@click.option("--paid", type=float, help="Price per unit, instead: its implied volatility.")
@click.option("--call/--put", "is_call", default=None, help="One of them [default: both; call of --paid].")
def price(
    *,
    as_json: bool,
    spot: float,
    strike: float,
    days: float | None,
    years: float | None,
    vol: float | None,
    paid: float | None,
    is_call: bool | None,
    **terms: Any,
) -> int:
    """Price and Greeks of an option, per one unit of the underlying.

    With --paid its implied volatility; exit 1 with the reason where none exists.
    """
    from scalpdesk.pricing.models import greeks

    t = _years(days, years)
    if paid is not None and vol is None:
        return _implied_vol(paid, spot, strike, t, is_call is not False, terms, as_json=as_json)
    if vol is None or paid is not None:
        raise ConfigError("give a volatility or a price", where="--vol, --paid", fix="--vol 16%")
    wanted = (True, False) if is_call is None else (is_call,)
    answers = {
        "call" if right else "put": greeks(spot, strike, t, vol, right, **_for_pricing(terms))
        for right in wanted
    }
    numbers = {
        right: {name: float(getattr(answer, name)) for name in RAW_UNITS} for right, answer in answers.items()
    }
    if as_json:
        own = {"spot": spot, "strike": strike, "years": t, "vol": vol}
        inputs = own | {name: terms[name] for name in _TERMS}
        print_json({"inputs": inputs, **numbers, "units": RAW_UNITS})
        return EXIT_OK
    table = new_table("", *numbers, "unit", text=("unit",))
    for name, unit, factor in _TRADER_UNITS:
        table.add_row(name, *(f"{n[name] * factor:.6f}" for n in numbers.values()), unit)
    click.echo(
        f"{terms['style']} {terms['model']}, spot {spot:g}, strike {strike:g}, {t * DAYS_PER_YEAR:g} days,"
        f" vol {vol:.2%}"
    )
    print_table(table)
    return EXIT_OK


def _implied_vol(
    paid: float, spot: float, strike: float, t: float, is_call: bool, terms: dict[str, Any], *, as_json: bool
) -> int:
    from scalpdesk.pricing.implied import implied_vol

    if not 0.0 <= paid < float("inf"):
        fix = "give a price, as --paid 10.85"
        raise ConfigError(BETWEEN["bad_input"], where="--paid", value=paid, fix=fix)
    answer = implied_vol(paid, spot, strike, t, is_call, **_for_pricing(terms))
    vol, status = float(answer.vol), str(answer.status)
    good = status == "ok"
    kind = f"{'call' if is_call else 'put'}, {terms['style']} {terms['model']}"
    found = f"implied volatility {vol:.4%} a year ({kind})"
    text = found if good else f"no implied volatility ({status}): {BETWEEN.get(status, status)}"
    print_answer({"vol": vol if good else None, "status": status}, text, as_json=as_json)
    return EXIT_OK if good else EXIT_FAILED


@desk_command("contract", example="scalpdesk contract SPX260320C06000000")
@click.argument("symbol")
@click.option("--share", is_flag=True, help="Take the root for that of a share, where no class is known.")
@click.option("--day", metavar="DATE", help="Trade date of the hours [default: the last one].")
@settings_options
def contract(
    *,
    as_json: bool,
    symbol: str,
    share: bool,
    day: str | None,
    config_file: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Show what an option is: settlement, ticks, last trade, hours, and the source of its class."""
    from scalpdesk.instruments.classes import last_trading_ns, option_class, trading_hours, us_option
    from scalpdesk.instruments.contract import parse_occ
    from scalpdesk.instruments.sessions import expiry_instant_ns, to_new_york

    settings_from(config_file, overrides)
    root, dated, *_ = parse_occ(symbol.upper())
    option = us_option(symbol.upper(), [root] if share else [])
    row, last_ns = option_class(root, dated), last_trading_ns(option)
    on = to_new_york(last_ns).date() if day is None else read_date(day, "--day")
    rule = option.tick_rule
    ticks = [f"{rule.below}", *(f"{step.tick} above {step.above_price}" for step in rule.steps)]
    document = {
        "symbol": option.symbol,
        "underlying": option.underlying,
        "style": option.style.value,
        "settlement": option.settlement.value,
        "multiplier": option.multiplier,
        "tick": ", ".join(ticks),
        "expires": to_new_york(expiry_instant_ns(option)).isoformat(),
        "last trade": to_new_york(last_ns).isoformat(),
        f"hours of {on}": ", ".join(
            f"{to_new_york(opens):%a %H:%M} to {to_new_york(closes):%H:%M}"
            for opens, closes in trading_hours(option, on)
        ),
        "source": "a share" if row is None else row.source,
    }
    table = table_of(document.items(), "term={0[0]}|value={0[1]}")
    print_answer(document, lambda: print_table(table), as_json=as_json)

"""Options with cash dividends by quadrature from one ex-date to the one before.

Between two dates on which something happens (a dividend, a decision to exercise) the value is a Gaussian
integral of the value at the later date: Gauss–Legendre panels where the option is held, closed forms where it
is exercised. After the last ex-date it is an option without dividends. The derivatives in volatility and rate
are carried along with the value; those in the spot are derivatives of the Gaussian.
"""

import math

import numpy as np

from scalpdesk.pricing.kernels.american import greeks_over_boundary
from scalpdesk.pricing.kernels.compiling import inner, kernel
from scalpdesk.pricing.kernels.european import european_greeks
from scalpdesk.pricing.kernels.normal import INV_SQRT_2PI, Floats, Nine, exp_quick, norm_cdf
from scalpdesk.pricing.kernels.premium import ROOM, log_limit_of, outward
from scalpdesk.pricing.kernels.tables import ROWS, TERMS, rows_from_table

PANEL_POINTS = 10
PANEL_WIDTH = 3.5  # deviations of the gap before a date
REACH = 6.5  # deviations from the spot that count
NODES_KEPT = 2400
AT, WEIGHT = np.polynomial.legendre.leggauss(PANEL_POINTS)
MARKS = np.array([-4.0, -1.5, 0.0, 1.5, 4.0])  # deviations around a bend at which panels end as well
SIDE, STRIKE, LEFT, VOL, RATE, YIELD, DROP, STRETCH, GAP, AMERICAN = range(10)
"""Of ``terms``: side ±1, strike, years to expiry, volatility, rate, yield, dividend in the state, stretch of
the boundary's series (0: none), years to the next date (0: none), exercise at any time."""


@inner
def add_nodes(mean: float, sd: float, nodes: Floats, count: int, sums: Floats) -> None:
    """Put the Gaussian integrals over the nodes into ``sums``.

    They are those of the value times Hermite's polynomials of order 0 to 4, of its slope in the volatility to
    order 2, of the second one and of its slope in the rate.
    """
    e0 = e1 = e2 = e3 = e4 = g0 = g1 = g2 = h0 = r0 = 0.0
    low, high = 0, count
    least = mean - (REACH + 1.0) * sd
    while low < high:
        mid = (low + high) // 2
        if nodes[0, mid] < least:
            low = mid + 1
        else:
            high = mid
    most = mean + (REACH + 1.0 + sd) * sd
    for i in range(low, count):
        y = nodes[0, i]
        if y > most:
            break
        z = (y - mean) / sd
        z2 = z * z
        mass = nodes[1, i] * exp_quick(-0.5 * z2)
        a = mass * nodes[2, i]
        b = mass * nodes[3, i]
        e0 += a
        e1 += a * z
        e2 += a * (z2 - 1.0)
        e3 += a * z * (z2 - 3.0)
        e4 += a * (z2 * (z2 - 6.0) + 3.0)
        g0 += b
        g1 += b * z
        g2 += b * (z2 - 1.0)
        h0 += mass * nodes[4, i]
        r0 += mass * nodes[5, i]
    scale = INV_SQRT_2PI / sd
    sums[0], sums[1], sums[2] = e0 * scale, e1 * scale / sd, e2 * scale / sd**2
    sums[3], sums[4] = e3 * scale / sd**3, e4 * scale / sd**4
    sums[5], sums[6], sums[7] = g0 * scale, g1 * scale / sd, g2 * scale / sd**2
    sums[8], sums[9] = h0 * scale, r0 * scale


@inner
def add_piece(mean: float, sd: float, piece: Floats, sums: Floats) -> None:
    """Add to ``sums`` what ``piece`` is worth: the cash, then the shares, whose measure is shifted by sd."""
    side = piece[4]
    z = (piece[0] - mean) / sd
    for part in range(2):
        z -= part * sd
        density = INV_SQRT_2PI * math.exp(-0.5 * z * z) * side / sd
        d0 = norm_cdf(-side * z)
        d1 = density
        d2 = density * z / sd
        d3 = density * (z * z - 1.0) / (sd * sd)
        d4 = density * z * (z * z - 3.0) / (sd * sd * sd)
        if part == 0:
            c = piece[1]
            sums[9] += piece[3] * d0
        else:
            c = piece[2] * math.exp(mean + 0.5 * sd * sd)
            d4 += 4.0 * d3 + 6.0 * d2 + 4.0 * d1 + d0
            d3 += 3.0 * d2 + 3.0 * d1 + d0
            d2 += 2.0 * d1 + d0
            d1 += d0
        sums[0] += c * d0
        sums[1] += c * d1
        sums[2] += c * d2
        sums[3] += c * d3
        sums[4] += c * d4


@inner
def carried_back(x: float, terms: Floats, nodes: Floats, count: int, pieces: Floats, out: Floats) -> None:
    """Discounted expectation at ln state ``x`` of what is known one gap later, into the first 8 of ``out``.

    ``nodes`` has rows ln state, weight, value, its slopes in volatility, volatility twice and rate.
    ``pieces`` has rows e, c0, c1, slope of c0 in the rate, side: c0 + c1·state where ln state is beyond e on
    that side (0: no piece). ``out``: value, slope in ln state, slopes in volatility, volatility twice, rate;
    ln state twice, thrice; ln state and volatility; the rest is scratch.
    """
    v, r, q, gap = terms[VOL], terms[RATE], terms[YIELD], terms[GAP]
    mean = x + (r - q - 0.5 * v * v) * gap
    sd = v * math.sqrt(gap)
    sums = out[8:]
    add_nodes(mean, sd, nodes, count, sums)
    for p in range(pieces.shape[0]):
        if pieces[p, 4] != 0.0:
            add_piece(mean, sd, pieces[p], sums)
    e0, e1, e2, e3, e4 = sums[0], sums[1], sums[2], sums[3], sums[4]
    g0, g1, g2, h0, r0 = sums[5], sums[6], sums[7], sums[8], sums[9]
    worth = math.exp(-r * gap)
    heat = v * gap  # the Gaussian's slope in the volatility is its bend times this
    bends = gap * (e2 - e1) + heat * heat * (e4 - 2.0 * e3 + e2)
    out[0] = worth * e0
    out[1] = worth * e1
    out[2] = worth * (heat * (e2 - e1) + g0)
    out[3] = worth * (bends + 2.0 * heat * (g2 - g1) + h0)
    out[4] = worth * (gap * (e1 - e0) + r0)
    out[5] = worth * e2
    out[6] = worth * e3
    out[7] = worth * (heat * (e3 - e2) + g1)


@inner
def held_at(
    y: float,
    terms: Floats,
    rows: Floats,
    w: Floats,
    nodes: Floats,
    count: int,
    pieces: Floats,
    out: Floats,
) -> None:
    """Value if held over a date at ln state ``y``, of which the dividend is then lost; ``out`` as above.

    ``rows`` are the series of the exercise boundary after the last date. ``w`` is scratch.
    """
    phi, K = terms[SIDE], terms[STRIKE]
    left, v, r, q = terms[LEFT], terms[VOL], terms[RATE], terms[YIELD]
    state = math.exp(y)
    after = state - terms[DROP]
    if after <= 0.0:
        out[:] = 0.0
        if phi < 0.0:
            wait = 0.0 if terms[AMERICAN] > 0.0 else left
            out[0] = K * math.exp(-r * wait)
            out[4] = -wait * out[0]
    elif terms[GAP] > 0.0:
        carried_back(math.log(after), terms, nodes, count, pieces, out)
        out[1] *= state / after
    else:
        if terms[STRETCH] > 0.0:
            nine = greeks_over_boundary(phi, after, K, left, v, r, q, False, rows, terms[STRETCH], w)
        else:
            nine = european_greeks(phi, after, K, left, v, r, q)
        out[0] = nine[0]
        out[1] = nine[1] * state
        out[2] = nine[4]
        out[3] = nine[7]
        out[4] = nine[5]


@inner
def exercise_edge(
    low: float,
    high: float,
    bend: float,
    cash: float,
    terms: Floats,
    rows: Floats,
    w: Floats,
    nodes: Floats,
    count: int,
    pieces: Floats,
    out: Floats,
) -> tuple[bool, float, float]:
    """Whether exercise is best at the deep end of ``low`` to ``high``, from which ln state on, and a bend.

    Exercise pays ``cash`` plus the signed state; ``bend`` is a first guess. The value's slope in the
    volatility jumps at the edge, which moves with the volatility: so its second slope has a mass there.
    """
    phi, K = terms[SIDE], terms[STRIKE]
    if terms[GAP] == 0.0 and terms[STRETCH] > 0.0:
        limit = log_limit_of(phi, terms[RATE], terms[YIELD])
        reach = outward(rows, 2.0 * terms[STRETCH] - 1.0)
        return True, math.log(K * math.exp(limit + phi * reach) + terms[DROP]), 0.0
    deep = high if phi > 0.0 else low
    held_at(deep, terms, rows, w, nodes, count, pieces, out)
    if out[0] >= cash + phi * math.exp(deep):
        return False, deep, 0.0
    y = bend if low < bend < high else 0.5 * (low + high)
    mass = 0.0
    for _ in range(80):
        held_at(y, terms, rows, w, nodes, count, pieces, out)
        payoff = phi * math.exp(y)
        excess = out[0] - cash - payoff
        if (excess > 0.0) == (phi > 0.0):
            low = y
        else:
            high = y
        slope = out[1] - payoff
        fresh = 0.5 * (low + high)
        if slope != 0.0:
            mass = -phi * out[2] * out[2] / slope
            if low < y - excess / slope < high:
                fresh = y - excess / slope
        near = abs(fresh - y) < 1e-9
        y = fresh
        if near:
            break
    return True, y, max(mass, 0.0)


@inner
def place_nodes(
    ends: Floats,
    number: int,
    terms: Floats,
    rows: Floats,
    w: Floats,
    nodes: Floats,
    count: int,
    pieces: Floats,
    out: Floats,
    now: Floats,
) -> int:
    """Value and slopes at the points of the panels into ``now``, an array like ``nodes``; how many."""
    fresh = 0
    for i in range(number - 1):
        half = 0.5 * (ends[i + 1] - ends[i])
        if half <= 0.0:
            continue
        for j in range(PANEL_POINTS):
            y = ends[i] + half * (1.0 + AT[j])
            held_at(y, terms, rows, w, nodes, count, pieces, out)
            now[0, fresh], now[1, fresh] = y, half * WEIGHT[j]
            now[2, fresh], now[3, fresh] = out[0], out[2]
            now[4, fresh], now[5, fresh] = out[3], out[4]
            fresh += 1
    return fresh


@inner
def panels(low: float, high: float, width: float, bends: Floats, ends: Floats) -> int:
    """Ends of panels from ``low`` to ``high``, ascending; how many, or 0 if there is no room.

    ``bends`` has rows of ln state and scale: there the value bends faster than a panel of ``width`` follows.
    """
    steps = math.ceil((high - low) / width)
    if steps + 1 + bends.shape[0] * MARKS.size > ends.size:
        return 0
    for i in range(steps + 1):
        ends[i] = low + (high - low) * i / steps
    count = steps + 1
    for b in range(bends.shape[0]):
        for mark in MARKS:
            at = bends[b, 0] + mark * bends[b, 1]
            if low < at < high:
                ends[count] = at
                count += 1
    ends[:count].sort()
    return count


@inner
def greeks_in_spot(state: float, ahead: float, ahead_rate: float, terms: Floats, out: Floats) -> Nine:
    """Price and Greeks from ``out`` of ``carried_back`` at the ``state``, the spot less ``ahead``.

    ``ahead_rate`` is the slope of the dividends' value in the rate.
    """
    v, r, q = terms[VOL], terms[RATE], terms[YIELD]
    price = out[0]
    var = v * v
    delta = out[1] / state
    gamma = (out[5] - out[1]) / (state * state)
    speed = (out[6] - 3.0 * out[5] + 2.0 * out[1]) / state**3
    # escrowed: at a fixed spot the state falls as the dividends' value grows at the rate r
    theta = r * price - (r - q) * state * delta - 0.5 * var * state**2 * gamma - r * ahead * delta
    charm = q * delta - (r - q + var) * state * gamma - 0.5 * var * state**2 * speed - r * ahead * gamma
    rho = out[4] - ahead_rate * delta
    return price, delta, gamma, theta, out[2], rho, out[7] / state, out[3], charm


@inner
def set_pieces(edge: float, cash: float, cash_rate: float, terms: Floats, pieces: Floats) -> None:
    """Exercise beyond ``edge`` for ``cash`` plus the signed state, into ``pieces``."""
    phi, drop = terms[SIDE], terms[DROP]
    pieces[0, 0], pieces[0, 1], pieces[0, 2], pieces[0, 3] = edge, cash, phi, cash_rate
    pieces[0, 4] = phi
    if phi < 0.0 and drop > 0.0:  # a share is never worth less than nothing
        pieces[1, 0], pieces[1, 1], pieces[1, 2], pieces[1, 4] = math.log(drop), -drop, 1.0, phi


@inner
def set_line(low: float, phi: float, out: Floats, pieces: Floats) -> None:
    """Below ``low``, where a dividend takes all or exercise is certain, the value in ``out`` as a line."""
    pieces[0, 0], pieces[0, 1], pieces[0, 2] = low, out[0] - out[1], out[1] / math.exp(low)
    pieces[0, 3], pieces[0, 4] = out[4], phi


@inner
def put_beside(edge: float, mass: float, phi: float, now: Floats, count: int) -> int:
    """Add a node of weight 1 with ``mass`` as its second slope in the volatility at the edge, in order."""
    at = count if phi > 0.0 else 0
    if phi < 0.0:
        now[:, 1 : count + 1] = now[:, :count].copy()
    now[:, at] = 0.0
    now[0, at], now[1, at], now[4, at] = edge, 1.0, mass
    return count + 1


@inner
def dividends_worth(dates: Floats, drops: Floats, r: float) -> tuple[float, float]:
    """Value now of all dividends, and its slope in the rate."""
    ahead = ahead_rate = 0.0
    for k in range(dates.size):
        worth = drops[k] * math.exp(-r * dates[k])
        ahead += worth
        ahead_rate -= dates[k] * worth
    return ahead, ahead_rate


@kernel
def value_by_ex_dates(  # noqa: PLR0915 - one loop over the dates, compiled as a whole
    phi: float,
    S: float,
    K: float,
    T: float,
    v: float,
    r: float,
    q: float,
    dates: Floats,
    drops: Floats,
    spot_model: bool,
    american: bool,
    table: Floats,
    horizon: float,
    vol_low: float,
    years_after: float,
) -> tuple[bool, Nine]:
    """Whether the method fits (False: too many points), and price and Greeks of not exercising now.

    ``dates`` ascend, in (0, T]; the last one has a dividend, others may have ``drops`` of 0: dates on which a
    put may be exercised between two dividends. ``table`` has the exercise boundaries after the last one, over
    ``horizon`` years from the volatility ``vol_low``; without early exercise there ``horizon`` is 0.
    ``years_after``: time left then, as far as it matters.
    """
    rows = np.empty(ROWS * TERMS)
    terms = np.array([phi, K, 0.0, v, r, q, 0.0, 0.0, 0.0, 1.0 if american else 0.0])
    if horizon > 0.0:
        rows_from_table(table, vol_low, v, rows)
        terms[STRETCH] = math.sqrt(years_after / horizon)
    ahead, ahead_rate = dividends_worth(dates, drops, r)
    state = S if spot_model else S - ahead
    x = math.log(state)
    drift = r - q - 0.5 * v * v
    falling = min(drift, 0.0)
    rising = max(drift + v * v, 0.0)
    w = np.empty(ROOM)
    ends = np.empty(NODES_KEPT // PANEL_POINTS - 1)
    buffers = np.zeros((2, 6, NODES_KEPT))
    pieces = np.zeros((2, 2, 5))
    out = np.empty(18)
    count = 0
    bends = np.empty((2, 2))  # ln state and scale: the strike's, and that of the latest edge of exercise
    aim = K  # the state from which the dividends to come lead to the strike
    bends[1, 0], bends[1, 1] = math.log(K), v * math.sqrt(T - dates[-1])
    later = later_rate = 0.0  # value just after a date of the dividends after it, and its slope in the rate
    for k in range(dates.size - 1, -1, -1):
        t, drop = dates[k], drops[k]
        if k + 1 < dates.size:
            gap = dates[k + 1] - t
            later_rate = math.exp(-r * gap) * (later_rate - gap * (later + drops[k + 1]))
            later = math.exp(-r * gap) * (later + drops[k + 1])
            terms[GAP], terms[LEFT] = gap, T - t
        else:
            terms[LEFT] = years_after
        terms[DROP] = drop if spot_model else 0.0
        after, pieces_after = buffers[(k + 1) % 2], pieces[(k + 1) % 2]
        now, pieces_now = buffers[k % 2], pieces[k % 2]
        sd = v * math.sqrt(t)
        low = x + falling * t - REACH * sd
        if spot_model:
            low += math.log((S - ahead) / S)
        high = x + rising * t + REACH * sd
        aim += terms[DROP]
        bends[0, 0], bends[0, 1] = math.log(aim), v * math.sqrt(T - t)
        bends[1, 0] = math.log(math.exp(bends[1, 0]) + terms[DROP])
        before = dates[k - 1] if k > 0 else 0.0
        width = PANEL_WIDTH * v * math.sqrt(t - before)
        exercised, edge, mass = False, 0.0, 0.0
        pieces_now[:] = 0.0
        if american:
            # a call is exercised just before the dividend, a put just after
            if spot_model:
                cash = K + drop if phi < 0.0 else -K
            else:
                cash = K - later if phi < 0.0 else later + drop - K
            exercised, edge, mass = exercise_edge(
                low, high, bends[1, 0], cash, terms, rows, w, after, count, pieces_after, out
            )
        if exercised:
            edge = min(max(edge, low), high)
            bends[1, 0] = edge
            set_pieces(edge, cash, 0.0 if spot_model else phi * later_rate, terms, pieces_now)
            low, high = (low, edge) if phi > 0.0 else (edge, high)
        elif phi < 0.0:
            if terms[DROP] > math.exp(low):
                low = bends[1, 0] = min(math.log(terms[DROP]), high)
            held_at(low, terms, rows, w, after, count, pieces_after, out)
            set_line(low, phi, out, pieces_now)
        # a bend not that narrow beside the deviations before the date is followed by any panel
        narrow = bends if PANEL_WIDTH * bends[0, 1] < 0.5 * width else bends[1:]
        number = panels(low, high, width, narrow, ends)
        if number == 0:
            return False, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        count = place_nodes(ends, number, terms, rows, w, after, count, pieces_after, out, now)
        if mass > 0.0:
            count = put_beside(edge, mass, phi, now, count)
        bends[1, 1] = v * math.sqrt(t - before)
    terms[GAP] = dates[0]
    carried_back(x, terms, buffers[0], count, pieces[0], out)
    ahead, ahead_rate = (0.0, 0.0) if spot_model else (ahead, ahead_rate)
    return True, greeks_in_spot(state, ahead, ahead_rate, terms, out)

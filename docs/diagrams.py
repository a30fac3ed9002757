# ruff: noqa: INP001 - a script's part beside the pages, not a package
"""The diagrams of the pages as SVG: ``docs/generate.py`` writes them, and they show without a network.

The colours follow the reader's scheme, light or dark. A name in an edge is a node or a frame; an edge from a
frame leaves each node in it, an edge to a frame enters each.
"""

from dataclasses import dataclass
from html import escape

from scalpdesk.core.enums import Mode
from scalpdesk.orders.order import OrderState

LINE = 16
"""Height of a line of text, in pixels."""
STYLE = """
text { font: 13px system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; fill: #57606a }
.node text { fill: #1f2328; font-weight: 600; text-anchor: middle }
.node rect { fill: #f3f5f8; stroke: #6e7781 }
.over rect { fill: #dfe5ee }
.doubt rect { fill: #fff1d6; stroke: #9a6700 }
.frame { fill: transparent; stroke: #8c959f; stroke-dasharray: 5 4 }
.edge { fill: transparent; stroke: #57606a; stroke-width: 1.3 }
.announced { stroke-dasharray: 3 3 }
.head { fill: #57606a }
@media (prefers-color-scheme: dark) {
  text { fill: #a9b3be }
  .node text { fill: #e8ecf1 }
  .node rect { fill: #22272e; stroke: #768390 }
  .over rect { fill: #343c47 }
  .doubt rect { fill: #3d2f12; stroke: #e0a030 }
  .frame { stroke: #6b7683 }
  .edge { stroke: #a9b3be }
  .head { fill: #a9b3be }
}
"""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Node:
    """A state or a part, drawn as a box."""

    name: str
    x: float
    y: float
    width: float
    label: str = ""
    """Lines of its text; its name where empty."""
    kind: str = ""
    """``over``, ``doubt`` or empty: its colour."""

    @property
    def lines(self) -> list[str]:
        """Lines of text in the box."""
        return (self.label or self.name).split("\n")

    @property
    def height(self) -> int:
        """Height of the box."""
        return 20 + LINE * len(self.lines)

    def svg(self) -> str:
        """Return the box with its text in the middle."""
        first = self.y + self.height / 2 + 4.5 - LINE * (len(self.lines) - 1) / 2
        box = f'<rect x="{self.x:g}" y="{self.y:g}" width="{self.width:g}" height="{self.height}" rx="6"/>'
        return f'<g class="node {self.kind}">{box}{_lines(self.lines, self.x + self.width / 2, first)}</g>'


@dataclass(frozen=True, slots=True)
class Frame:
    """A dashed box around nodes."""

    name: str
    nodes: tuple[str, ...]
    box: tuple[float, float, float, float] | None = None
    """Left, top, width, height; None: not drawn."""
    label_at: Point | None = None

    def svg(self) -> str:
        """Return the dashed box, with its name where it has a place."""
        if self.box is None:
            return ""
        x, y, width, height = self.box
        drawn = f'<rect class="frame" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>'
        return drawn + (_lines([self.name], *self.label_at) if self.label_at else "")


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow from a node or a frame to another, along straight lines."""

    start: str
    end: str
    label: str
    points: tuple[Point, ...]
    label_at: Point = (0, 0)
    anchor: str = "start"
    is_upright: bool = False
    kind: str = ""

    def svg(self) -> str:
        """Return the line, its head and its label."""
        line = " ".join(f"{x:g},{y:g}" for x, y in self.points)
        drawn = f'<polyline class="edge {self.kind}" points="{line}" marker-end="url(#head)"/>'
        if not self.label:
            return drawn
        x, y = self.label_at
        turn = f' transform="rotate(-90 {x:g} {y:g})"' if self.is_upright else ""
        return drawn + _lines(self.label.split("\n"), x, y, f' text-anchor="{self.anchor}"{turn}')


@dataclass(frozen=True, slots=True)
class Diagram:
    """Nodes, frames and edges on a canvas."""

    title: str
    width: int
    height: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    frames: tuple[Frame, ...] = ()
    start: Point | None = None
    """Where the dot stands at which everything begins."""

    def pairs(self) -> set[tuple[str, str]]:
        """Return every edge from node to node, the edges of frames once for each node in them."""
        members = {frame.name: frame.nodes for frame in self.frames}
        return {
            (start, end)
            for edge in self.edges
            if edge.start
            for start in members.get(edge.start, (edge.start,))
            for end in members.get(edge.end, (edge.end,))
            if start != end
        }

    def svg(self) -> str:
        """Return the file's text."""
        head = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8"'
            ' orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>'
        )
        dot = (
            ""
            if self.start is None
            else '<circle class="head" cx="{:g}" cy="{:g}" r="5"/>'.format(*self.start)
        )
        parts = [each.svg() for group in (self.frames, self.edges, self.nodes) for each in group]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
            f' width="{self.width}" height="{self.height}" role="img">\n<title>{escape(self.title)}</title>\n'
            f"<style>{STYLE}</style>\n{head}\n" + "\n".join(filter(None, [dot, *parts])) + "\n</svg>\n"
        )


def _lines(lines: list[str], x: float, y: float, more: str = "") -> str:
    spans = "".join(
        f'<tspan x="{x:g}" y="{y + LINE * number:g}">{escape(line)}</tspan>'
        for number, line in enumerate(lines)
    )
    return f"<text{more}>{spans}</text>"


# the life of an order ------------------------------------------------------------------------------

_S = OrderState
_ANSWERED = (_S.PENDING_NEW, _S.WORKING, _S.PARTIALLY_FILLED)
_LIVE = (*_ANSWERED, _S.PENDING_CANCEL, _S.UNKNOWN)

ORDER_LIFE = Diagram(
    "Life of an order: live states at the left, and the four in which it is over at the right",
    790,
    500,
    (
        Node(_S.PENDING_NEW, 80, 90, 140),
        Node(_S.WORKING, 80, 185, 140),
        Node(_S.PARTIALLY_FILLED, 80, 280, 140),
        Node(_S.PENDING_CANCEL, 345, 90, 140),
        Node(_S.UNKNOWN, 80, 425, 140, kind="doubt"),
        Node(_S.EXPIRED, 625, 90, 100, kind="over"),
        Node(_S.FILLED, 625, 195, 100, kind="over"),
        Node(_S.CANCELLED, 625, 300, 100, kind="over"),
        Node(_S.REJECTED, 625, 405, 100, kind="over"),
    ),
    (
        Edge("", _S.PENDING_NEW, "decided, on disk, sent", ((150, 18), (150, 90)), (162, 22)),
        Edge(_S.PENDING_NEW, _S.WORKING, "accepted", ((150, 126), (150, 185)), (157, 160)),
        Edge(_S.WORKING, _S.PARTIALLY_FILLED, "part executed", ((150, 221), (150, 280)), (157, 255)),
        Edge(
            _S.PENDING_NEW, _S.PARTIALLY_FILLED, "part executed",
            ((80, 108), (58, 108), (58, 298), (80, 298)), (53, 203), "middle", is_upright=True,
        ),
        Edge("answered", _S.PENDING_CANCEL, "cancel sent", ((255, 100), (345, 100)), (300, 94), "middle"),
        Edge(_S.PENDING_CANCEL, "answered", "refused", ((345, 117), (255, 117)), (300, 133), "middle"),
        Edge("answered", _S.UNKNOWN, "no answer", ((110, 330), (110, 425)), (103, 385), "end"),
        Edge(_S.UNKNOWN, _S.PARTIALLY_FILLED, "part executed", ((150, 425), (150, 316)), (157, 385)),
        Edge(_S.UNKNOWN, _S.WORKING, "shown", ((220, 436), (300, 436), (300, 203), (220, 203)), (307, 300)),
        Edge(_S.PENDING_CANCEL, _S.UNKNOWN, "no answer", ((412, 126), (412, 452), (220, 452)), (419, 300)),
        Edge("live", _S.EXPIRED, "time ran out", ((500, 108), (625, 108)), (562, 102), "middle"),
        Edge("live", _S.FILLED, "all executed", ((500, 213), (625, 213)), (562, 207), "middle"),
        Edge("live", _S.CANCELLED, "ended", ((500, 318), (625, 318)), (562, 312), "middle"),
        Edge(
            "live, nothing filled", _S.REJECTED, "refused or absent,\nnothing filled",
            ((500, 423), (625, 423)), (562, 401), "middle",
        ),
        Edge(_S.EXPIRED, _S.FILLED, "late fill", ((675, 126), (675, 195)), (682, 165)),
        Edge(_S.FILLED, _S.CANCELLED, "bust", ((650, 231), (650, 300)), (643, 270), "end"),
        Edge(_S.CANCELLED, _S.FILLED, "late fill", ((690, 300), (690, 231)), (697, 270)),
        Edge(_S.REJECTED, _S.CANCELLED, "late part", ((675, 405), (675, 336)), (682, 375)),
        Edge(
            _S.REJECTED, _S.FILLED, "late fill", ((725, 423), (762, 423), (762, 213), (725, 213)),
            (778, 318), "middle", is_upright=True,
        ),
    ),
    (
        Frame("live", _LIVE, (15, 50, 485, 435), (468, 72)),
        Frame("answered", _ANSWERED, (30, 78, 225, 252)),
        Frame("live, nothing filled", tuple(each for each in _LIVE if each != _S.PARTIALLY_FILLED)),
    ),
    (150, 14),
)  # fmt: skip

# the desk's modes ----------------------------------------------------------------------------------

_M = Mode
DESK_MODES = Diagram(
    "The four modes of a desk, and what changes them",
    760,
    400,
    (
        Node(_M.ACTIVE, 45, 110, 105),
        Node(_M.REDUCING, 325, 110, 105),
        Node(_M.FLATTENING, 175, 320, 130),
        Node(_M.HALTED, 645, 180, 100, kind="doubt"),
    ),
    (
        Edge("", _M.ACTIVE, "new run", ((70, 18), (70, 110)), (62, 22), "end"),
        Edge(
            _M.ACTIVE, _M.REDUCING, "unexplained difference,\nrepeated executions,\nmargin, second stage",
            ((150, 120), (325, 120)), (237, 81), "middle",
        ),
        Edge(_M.REDUCING, _M.ACTIVE, "resume", ((325, 137), (150, 137)), (237, 153), "middle"),
        Edge(
            "may open or reduce", _M.FLATTENING,
            "flatten, day's loss,\nmargin, third stage,\nexpiring options,\nadjusted option",
            ((240, 166), (240, 320)), (248, 214),
        ),
        Edge(
            _M.FLATTENING, _M.ACTIVE, "resume, or a\nnew session after\nthe loss or\nthe margin",
            ((175, 338), (95, 338), (95, 146)), (103, 214),
        ),
        Edge(
            _M.FLATTENING, _M.REDUCING, "a new session after\nthe loss or the\nmargin, REDUCING\nbefore",
            ((305, 331), (400, 331), (400, 146)), (408, 214),
        ),
        Edge(
            "trading", _M.HALTED, "halt, or the\nvenue ended\nthe session",
            ((545, 198), (645, 198)), (593, 159), "middle",
        ),
        Edge(_M.HALTED, _M.FLATTENING, "flatten", ((695, 216), (695, 347), (305, 347)), (620, 341), "middle"),
        Edge(
            _M.HALTED, _M.ACTIVE, "resume",
            ((695, 180), (695, 24), (120, 24), (120, 110)), (620, 18), "middle",
        ),
    ),
    (
        Frame("trading", (_M.ACTIVE, _M.REDUCING, _M.FLATTENING), (15, 40, 530, 345)),
        Frame("may open or reduce", (_M.ACTIVE, _M.REDUCING), (30, 52, 415, 114)),
    ),
    (70, 14),
)  # fmt: skip

# the way of an event -------------------------------------------------------------------------------

EVENT_PATH = Diagram(
    "From an event to the venue: queue, journal, engine, journal, fdatasync, gateway",
    760,
    190,
    (
        Node("sources", 5, 12, 150, "quotes, fills,\ntimers, commands"),
        Node("queue", 185, 20, 80),
        Node("event", 305, 12, 90, "journal:\nevent"),
        Node("engine", 435, 20, 90),
        Node("outputs", 562, 12, 90, "journal:\noutputs"),
        Node("fdatasync", 560, 130, 95),
        Node("gateway", 435, 130, 90),
        Node("venue", 25, 130, 90),
        Node("watchdog", 665, 130, 95, kind="over"),
    ),
    (
        Edge("sources", "queue", "", ((155, 38), (185, 38))),
        Edge("queue", "event", "", ((265, 38), (305, 38))),
        Edge("event", "engine", "", ((395, 38), (435, 38))),
        Edge("engine", "outputs", "", ((525, 38), (565, 38))),
        Edge("outputs", "fdatasync", "a command among them", ((610, 64), (610, 130)), (602, 102), "end"),
        Edge("fdatasync", "gateway", "", ((560, 148), (525, 148))),
        Edge("gateway", "venue", "", ((435, 148), (115, 148))),
        Edge("venue", "sources", "", ((70, 130), (70, 64))),
        Edge(
            "fdatasync", "watchdog", "each order announced", ((610, 166), (610, 180), (715, 180), (715, 166)),
            (602, 184), "end", kind="announced",
        ),
    ),
)  # fmt: skip

FILES = {"order-life.svg": ORDER_LIFE, "desk-modes.svg": DESK_MODES, "event-path.svg": EVENT_PATH}

"""The map of what an agent may reach as one HTML page: a picture, a table, what is not known.

The page holds everything itself: no script, no font, no picture from elsewhere, and a policy that
would let none of these in. Every word that a bundle or a caller wrote is escaped.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from sidecar.review.surface.reach import Reached

STATUSES: Final = ("allowed", "conditional", "approval", "denied")
_COLOURS: Final = {
    "allowed": "#2e7d32",
    "conditional": "#f9a825",
    "approval": "#1565c0",
    "denied": "#b0bec5",
}
_STYLE: Final = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#212121}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #e0e0e0;"
    "vertical-align:top}"
    "code{font:12px ui-monospace,monospace;overflow-wrap:anywhere}"
    ".allowed{border-left:.4rem solid #2e7d32}.conditional{border-left:.4rem solid #f9a825}"
    ".approval{border-left:.4rem solid #1565c0}.denied{border-left:.4rem solid #b0bec5}"
    "svg{max-width:100%;height:auto}small{color:#616161}"
)
_CELL: Final = 11
_COLUMNS: Final = 48
_LEFT: Final = 230
_WIDTH: Final = _LEFT + _COLUMNS * _CELL + 20
# Of one protocol; the table has them all.
_CELLS_MAX: Final = _COLUMNS * 12


def page(name: str, bundle: str, reached: Sequence[Reached]) -> str:
    """Return the page.

    Args:
        name: Of the agent.
        bundle: Name and version.
        reached: What it may do.
    """
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    title = f"What {name} may reach"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1><p>Under <code>{escape(bundle)}</code>.</p>",
            _picture(name, reached),
            f"<p>{_legend(reached)}</p>",
            *_open(reached),
            _table(reached),
            "</body></html>\n",
        ]
    )


def summary(reached: Iterable[Reached]) -> dict[str, dict[str, int]]:
    """Return how many things of each protocol are allowed, conditional, denied."""
    counts: dict[str, Counter[str]] = {}
    for one in reached:
        counts.setdefault(one.thing.protocol, Counter())[one.status] += 1
    return {
        protocol: {status: its[status] for status in STATUSES} for protocol, its in counts.items()
    }


def undecided(reached: Iterable[Reached]) -> dict[str, int]:
    """Return on what it depends that is not known here, and for how many things."""
    return dict(Counter(path for one in reached for path in one.unknown).most_common())


def _picture(name: str, found: Sequence[Reached]) -> str:
    groups: dict[tuple[str, str], list[Reached]] = {}
    for one in found:
        groups.setdefault((one.thing.domain, one.thing.protocol), []).append(one)
    parts: list[str] = []
    top, heads = 20, []
    for (domain, protocol), its in groups.items():
        height = _rows(its) * _CELL
        heads.append(top + 8)
        parts.append(f'<text x="{_LEFT - 12}" y="{top + 10}" text-anchor="end">{escape(protocol)}')
        parts.append(f"<title>{escape(domain)}</title></text>")
        parts += _cells(its, top)
        top += height + 16
    middle = max(top // 2, 30)
    lines = [
        f'<path d="M100 {middle} C140 {middle} 130 {y} {_LEFT - 80} {y}" fill="none" '
        'stroke="#90a4ae"/>'
        for y in heads
    ]
    label = name if len(name) <= 24 else f"{name[:23]}…"
    return "\n".join(
        [
            f'<svg viewBox="0 0 {_WIDTH} {max(top, 60)}" role="img" font-size="11" '
            f'font-family="sans-serif"><title>{escape(name)}</title>',
            *lines,
            f'<circle cx="70" cy="{middle}" r="22" fill="#37474f"/>',
            f'<text x="70" y="{middle + 38}" text-anchor="middle">{escape(label)}</text>',
            *parts,
            "</svg>",
        ]
    )


def _rows(its: Sequence[Reached]) -> int:
    return -(-min(len(its), _CELLS_MAX) // _COLUMNS)


def _cells(its: Sequence[Reached], top: int) -> list[str]:
    ordered = sorted(its, key=lambda one: STATUSES.index(one.status))
    cells = []
    for place, one in enumerate(ordered[:_CELLS_MAX]):
        x, y = _LEFT + place % _COLUMNS * _CELL, top + place // _COLUMNS * _CELL
        size = _CELL - 2
        told = escape(f"{one.status}: {one.thing.cls} {one.thing.resource}")
        cells.append(
            f'<rect x="{x}" y="{y}" width="{size}" height="{size}" '
            f'fill="{_COLOURS[one.status]}"><title>{told}</title></rect>'
        )
    return cells


def _legend(found: Sequence[Reached]) -> str:
    counts = Counter(one.status for one in found)
    return " · ".join(
        f'<span class="{status}">&nbsp;{counts[status]} {status}</span>' for status in STATUSES
    )


def _open(found: Sequence[Reached]) -> list[str]:
    paths = undecided(found)
    if not paths:
        return []
    rows = "".join(
        f"<li><code>{escape(path)}</code> <small>{count} things</small></li>"
        for path, count in paths.items()
    )
    return [f"<h2>What could not be decided without a call</h2><ul>{rows}</ul>"]


def _table(found: Sequence[Reached]) -> str:
    rows = [
        "<tr>"
        f'<td class="{one.status}">{one.status}</td><td>{escape(one.thing.protocol)}</td>'
        f"<td>{escape(one.thing.cls)}</td><td><code>{escape(one.thing.resource)}</code> "
        f"<small>{escape(' '.join(one.thing.labels))}</small></td>"
        f"<td>{'<br>'.join(map(escape, words(one)))}</td></tr>"
        for one in found
    ]
    heads = "".join(f"<th>{head}</th>" for head in ("", "protocol", "class", "resource", "how"))
    return f"<h2>Everything</h2><table><tr>{heads}</tr>{''.join(rows)}</table>"


def words(reached: Reached) -> list[str]:
    """Return under what something may be done, a line each."""
    told = [f"when {text}" for text in reached.when]
    told += [f"unless {text}" for text in reached.unless]
    told += [f"with {text}" for text in reached.obligations]
    told += [f"after approval: {text}" for text in reached.approval]
    return [*told, f"by {', '.join(reached.rules)}"] if reached.rules else told

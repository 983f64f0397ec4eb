"""Small charts as inline SVG: they print, need no script, and follow the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

LABEL, WIDTH, ROW = 130, 560, 26


def intervals(rows: Sequence[tuple[str, float, float | None, float | None]], metric: str) -> Markup:
    """Dot and 95 % interval per arm on a scale from 0 to 1 (or to the largest value)."""
    top = max([1.0, *(r[3] or r[1] for r in rows)])
    parts = []
    for n, (name, mean, low, high) in enumerate(rows):
        y = 14 + n * ROW
        parts.append(f'<text x="0" y="{y + 4}">{escape(name)}</text>')
        if low is not None and high is not None:
            x1, x2 = _x(max(0.0, low), top), _x(high, top)
            parts.append(f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y}" y2="{y}" class="span"/>')
        parts.append(
            f'<circle cx="{_x(mean, top):.1f}" cy="{y}" r="4.5"/><text x="{WIDTH - 38}" y="{y + 4}">{mean:.3f}</text>'
        )
    height = 14 + len(rows) * ROW
    ticks = "".join(
        f'<line x1="{_x(t * top, top):.1f}" x2="{_x(t * top, top):.1f}" y1="2" y2="{height - 6}" class="grid"/>'
        f'<text x="{_x(t * top, top):.1f}" y="{height + 8}" class="tick">{t * top:.2g}</text>'
        for t in (0, 0.25, 0.5, 0.75, 1)
    )
    return _svg(height + 12, ticks + "".join(parts), f"{metric} by arm with 95% intervals")


def bars(rows: Sequence[tuple[str, float | None]], unit: str) -> Markup:
    """A bar per arm; arms without a value say so."""
    top = max([v for _, v in rows if v is not None], default=1.0) or 1.0
    parts = []
    for n, (name, value) in enumerate(rows):
        y = 4 + n * ROW
        parts.append(f'<text x="0" y="{y + 14}">{escape(name)}</text>')
        if value is None:
            parts.append(f'<text x="{LABEL}" y="{y + 14}">not measured</text>')
            continue
        width = max(2.0, (_x(value, top) - LABEL))
        parts.append(f'<rect x="{LABEL}" y="{y + 3}" width="{width:.1f}" height="14" rx="2"/>')
        parts.append(f'<text x="{WIDTH - 60}" y="{y + 14}">{value:,.0f} {escape(unit)}</text>')
    return _svg(8 + len(rows) * ROW, "".join(parts), f"p95 in {unit} by arm")


def _x(value: float, top: float) -> float:
    return LABEL + value / top * (WIDTH - LABEL - 70)


def _svg(height: float, body: str, title: str) -> Markup:
    # every text in `body` went through escape()
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>{body}</svg>'
    )

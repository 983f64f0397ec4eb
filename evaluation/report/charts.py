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


def columns(rows: Sequence[tuple[str, int]], title: str) -> Markup:
    """A column per bin, its number above it."""
    top, high, step = max([n for _, n in rows], default=1) or 1, 90, (WIDTH - 10) / max(1, len(rows))
    parts = []
    for i, (name, n) in enumerate(rows):
        x, height = 5 + i * step, high * n / top
        parts.append(
            f'<rect x="{x + 3:.1f}" y="{14 + high - height:.1f}" width="{step - 6:.1f}" height="{height:.1f}" rx="2"/>'
        )
        parts.append(f'<text x="{x + step / 2:.1f}" y="{10 + high - height:.1f}" class="tick">{n:,}</text>')
        parts.append(f'<text x="{x + step / 2:.1f}" y="{high + 28}" class="tick">{escape(name)}</text>')
    return _svg(high + 34, "".join(parts), title)


def heat(rows: Sequence[tuple[str, Sequence[int]]], title: str) -> Markup:
    """A grid of cells, the darker the more; every cell says its number to those who point at it."""
    top = max([n for _, values in rows for n in values], default=1) or 1
    left, cell, parts = 40, 20, []
    for i, (name, values) in enumerate(rows):
        parts.append(f'<text x="0" y="{24 + i * cell}">{escape(name)}</text>')
        for j, n in enumerate(values):
            parts.append(
                f'<rect x="{left + j * cell}" y="{10 + i * cell}" width="{cell - 2}" height="{cell - 2}" rx="2"'
                f' fill-opacity="{0.06 + 0.94 * n / top:.2f}"><title>{escape(name)} {j}:00: {n:,}</title></rect>'
            )
    ticks = "".join(f'<text x="{left + j * cell + 9}" y="8" class="tick">{j}</text>' for j in range(0, 24, 3))
    return _svg(14 + len(rows) * cell, ticks + "".join(parts), title)


def _x(value: float, top: float) -> float:
    return LABEL + value / top * (WIDTH - LABEL - 70)


def _svg(height: float, body: str, title: str) -> Markup:
    # every text in `body` went through escape()
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>{body}</svg>'
    )

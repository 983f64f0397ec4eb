"""Small charts as inline SVG: they print, need no script, and follow the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

LABEL, WIDTH, ROW = 130, 560, 26


def standalone(chart: Markup, style: str) -> str:
    """A chart's SVG as a file, with the page's colours for light paper. style: the page's style sheet."""
    rules = "\n".join(line for line in style.splitlines() if line.startswith((":root", "svg")))
    text, opened = str(chart), f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
    svg = text[text.index("<svg ") : text.index("</svg>") + len("</svg>")]
    return svg.replace("<svg ", opened, 1).replace("<title>", f"<style>{rules}</style><title>", 1)


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
            f'<circle cx="{_x(mean, top):.1f}" cy="{y}" r="4.5"/><text x="{WIDTH - 2}" y="{y + 4}" class="value">{mean:.3f}</text>'
        )
    height = 14 + len(rows) * ROW
    ticks = "".join(
        f'<line x1="{_x(t * top, top):.1f}" x2="{_x(t * top, top):.1f}" y1="2" y2="{height - 6}" class="grid"/>'
        f'<text x="{_x(t * top, top):.1f}" y="{height + 8}" class="tick">{t * top:.2g}</text>'
        for t in (0, 0.25, 0.5, 0.75, 1)
    )
    return _svg(height + 12, ticks + "".join(parts), f"{metric} by arm with 95% intervals")


def bars(rows: Sequence[tuple[str, float | None]], unit: str, title: str) -> Markup:
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
        parts.append(f'<text x="{WIDTH - 2}" y="{y + 14}" class="value">{value:,.0f} {escape(unit)}</text>')
    return _svg(8 + len(rows) * ROW, "".join(parts), title)


def staircase(
    points: Sequence[tuple[float, float, float]],
    now: float,
    cheaper: Sequence[tuple[float, float]],
    title: str,
    api: str,
) -> Markup:
    """Monthly cost over monthly requests: (requests, self-hosted, API) in ascending order; where self-hosting costs no more is
    shaded; `now` is the declared traffic, `api` what the other line is called."""
    if len(points) < 2:
        return Markup("")
    right, top = points[-1][0] or 1, max(max(p[1], p[2]) for p in points) or 1
    left, high, wide = 64, 150, WIDTH - 80

    def at(requests: float, usd: float) -> str:
        return f"{left + requests / right * wide:.1f},{10 + high - usd / top * high:.1f}"

    shaded = "".join(
        f'<rect class="shade" x="{left + a / right * wide:.1f}" y="10" width="{max(1.0, (min(b, right) - a) / right * wide):.1f}"'
        f' height="{high}"/>'
        for a, b in cheaper
    )
    lines = "".join(
        f'<polyline class="{name}" points="{" ".join(at(p[0], p[i]) for p in points)}"/>'
        for i, name in ((1, "own"), (2, "api"))
    )
    here = left + min(now, right) / right * wide
    ticks = "".join(
        f'<text x="{left + t * wide:.1f}" y="{high + 26}" class="tick">{_short(t * right)}</text>'
        f'<text x="{left - 6}" y="{14 + high - t * high:.1f}" class="tick end">${_short(t * top)}</text>'
        f'<line x1="{left}" x2="{left + wide}" y1="{10 + high - t * high:.1f}" y2="{10 + high - t * high:.1f}" class="grid"/>'
        for t in (0, 0.25, 0.5, 0.75, 1)
    )
    key = (
        f'<line class="own" x1="{left}" x2="{left + 24}" y1="{high + 44}" y2="{high + 44}"/><text x="{left + 30}" y="{high + 48}">self-hosted</text>'
        f'<line class="api" x1="{left + 130}" x2="{left + 154}" y1="{high + 44}" y2="{high + 44}"/>'
        f'<text x="{left + 160}" y="{high + 48}">{escape(api)}</text>'
        f'<line class="now" x1="{left + 220}" x2="{left + 244}" y1="{high + 44}" y2="{high + 44}"/>'
        f'<text x="{left + 250}" y="{high + 48}">declared: {_short(now)} a month</text>'
    )
    now_line = f'<line class="now" x1="{here:.1f}" x2="{here:.1f}" y1="10" y2="{10 + high}"/>'
    return _svg(high + 56, shaded + ticks + lines + now_line + key, title)


def tornado(rows: Sequence[tuple[str, float, float]], title: str) -> Markup:
    """What moving one assumption does to the monthly saving: (assumption, at its low end, at its high end), widest first."""
    if not rows:
        return Markup("")
    low, high = min(min(a, b) for _, a, b in rows), max(max(a, b) for _, a, b in rows)
    low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or 1.0
    wide = WIDTH - LABEL - 90

    def x(v: float) -> float:
        return LABEL + 40 + (v - low) / span * wide

    parts = []
    for n, (name, a, b) in enumerate(rows):
        y = 6 + n * ROW
        parts.append(f'<text x="0" y="{y + 13}">{escape(name)}</text>')
        parts.append(
            f'<rect x="{x(min(a, b)):.1f}" y="{y + 2}" width="{max(2.0, abs(x(b) - x(a))):.1f}" height="14" rx="2"/>'
        )
    height = 10 + len(rows) * ROW
    parts.append(f'<line class="now" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="2" y2="{height}"/>')
    ends = f'<text x="{x(low):.1f}" y="{height + 14}" class="tick">${_short(low)}</text>' + (
        f'<text x="{x(high):.1f}" y="{height + 14}" class="tick">${_short(high)}</text>'
    )
    return _svg(height + 20, "".join(parts) + ends, title)


def calibration(rows: Sequence[tuple[float, float, int]], title: str) -> Markup:
    """Accuracy over confidence: (mean confidence, share right, items) a bin; on the diagonal, confidence is what it says."""
    if not rows:
        return Markup("")
    side, left = 170, 44

    def at(c: float, a: float) -> tuple[float, float]:
        return left + c * side, 10 + side - a * side

    most = max(n for _, _, n in rows)
    dots = "".join(
        f'<circle cx="{at(c, a)[0]:.1f}" cy="{at(c, a)[1]:.1f}" r="{3 + 6 * (n / most) ** 0.5:.1f}" fill-opacity="0.7">'
        f"<title>confidence {c:.2f}, right {a:.2f}, {n} items</title></circle>"
        for c, a, n in rows
    )
    bottom, right = 10 + side, left + side
    ends = ((left, bottom, right, 10), (left, bottom, right, bottom), (left, bottom, left, 10))
    frame = "".join(f'<line class="grid" x1="{a}" y1="{b}" x2="{c}" y2="{d}"/>' for a, b, c, d in ends)
    for t in (0, 0.5, 1):
        frame += f'<text x="{left + t * side:.0f}" y="{side + 24}" class="tick">{t:g}</text>'
        frame += f'<text x="{left - 6}" y="{14 + side - t * side:.0f}" class="tick end">{t:g}</text>'
    frame += f'<text x="{right + 16}" y="24">share right (up) over confidence (right)</text>'
    return _svg(side + 32, frame + dots, title)


def _short(value: float) -> str:
    for size, sign in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


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
    return LABEL + value / top * (WIDTH - LABEL - 90)


def _svg(height: float, body: str, title: str) -> Markup:
    # every text in `body` went through escape()
    return Markup(
        f'<div class="chart" tabindex="0" role="group" aria-label="chart"><svg viewBox="0 0 {WIDTH} {height:.0f}" role="img"'
        f' aria-label="{escape(title)}"><title>{escape(title)}</title>{body}</svg></div>'
    )

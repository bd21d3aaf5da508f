"""Charts as inline SVG: small ones, each readable at the width of a phone."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

_STYLE = {
    'svg.fonttype': 'none',  # text stays text, in the reader's own font
    'font.family': 'sans-serif',
    'font.size': 9,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.edgecolor': '#8a8a8a',
    'axes.labelcolor': '#333333',
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '#e4e4e4',
    'grid.linewidth': 0.7,
    'xtick.color': '#555555',
    'ytick.color': '#555555',
    'lines.linewidth': 1.8,
    'path.simplify': True,
    'text.parse_math': False,  # a dollar sign in a class name is one
}
_WIDTH = 4.3  # inches


@dataclass(frozen=True)
class Series:
    """One run in a chart.

    Attributes:
        label: its name.
        color: '#rrggbb'.
        dashes: lengths on and off; () for a solid line.
        x: positions; not used by bars.
        y: values; NaN where there is none.
    """

    label: str
    color: str
    dashes: tuple[float, ...]
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """An inline picture and what it shows in words."""

    title: str
    svg: Markup


def line_chart(
    title: str,
    series: Sequence[Series],
    xlabel: str,
    ylabel: str,
    name: str,
    unit_square: bool = False,
) -> Chart:
    """Lines over a common axis.

    Args:
        title: heading, above the picture.
        series: a line each; single points are drawn as points.
        xlabel: of the axis.
        ylabel: of the axis.
        name: unique in the page, of letters, digits and dashes.
        unit_square: both axes from 0 to 1.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(2.7)
        for line in series:
            few = len(line.x) < 15 and not unit_square
            axes.plot(
                line.x,
                line.y,
                color=line.color,
                dashes=line.dashes or (None, None),
                marker='o' if few else '',
                markersize=3.5,
            )
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        if unit_square:
            axes.set(xlim=(0, 1.01), ylim=(0, 1.01))
        else:
            axes.set_ylim(bottom=0)
        return Chart(title, _svg(figure, title, series, name))


def bar_chart(
    title: str,
    categories: Sequence[str],
    series: Sequence[Series],
    xlabel: str,
    name: str,
) -> Chart:
    """Groups of horizontal bars, the first category on top.

    Args:
        title: heading, above the picture.
        categories: names of the groups.
        series: a bar in each group; no bar, but a dash, where the value is NaN.
        xlabel: of the values.
        name: unique in the page, of letters, digits and dashes.
    """
    thickness = 0.8 / max(len(series), 1)
    with mpl.rc_context(_STYLE):
        rows = len(categories) * (0.12 + 0.13 * len(series))
        figure, axes = _figure(0.55 + rows)
        for index, one in enumerate(series):
            at = np.arange(len(categories)) - 0.4 + thickness * (index + 0.5)
            values = np.asarray(one.y, dtype=float)
            axes.barh(at, np.nan_to_num(values), thickness * 0.9, color=one.color)
            for y, value in zip(at, values, strict=True):
                text = '\N{EN DASH}' if np.isnan(value) else f'{value:.1f}'
                axes.annotate(
                    text,
                    (0 if np.isnan(value) else value, y),
                    (3, 0),
                    textcoords='offset points',
                    va='center',
                    fontsize=7.5,
                    color='#333333',
                )
        axes.set_yticks(range(len(categories)), categories)
        axes.tick_params(axis='y', length=0)
        axes.grid(False, axis='y')
        axes.set_ylim(len(categories) - 0.5, -0.5)
        axes.set_xlabel(xlabel)
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
        return Chart(title, _svg(figure, title, series, name))


def dot_chart(
    title: str, points: Mapping[str, Sequence[float]], xlabel: str, name: str
) -> Chart:
    """A row a category, the first on top: a dot a value, a bar at their mean.

    Args:
        title: heading, above the picture.
        points: values by category, at least one each.
        xlabel: of the values.
        name: unique in the page, of letters, digits and dashes.
    """
    color = '#0072b2'
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(0.6 + 0.22 * len(points))
        for at, values in enumerate(points.values()):
            mean = float(np.mean(values))
            axes.plot([mean, mean], [at - 0.3, at + 0.3], color='#333333')
            axes.plot(values, [at] * len(values), 'o', color=color, markersize=4)
        axes.set_yticks(range(len(points)), list(points))
        axes.tick_params(axis='y', length=0)
        axes.set_ylim(len(points) - 0.5, -0.5)
        axes.set_xlabel(xlabel)
        series = [Series(label, color, (), (), y) for label, y in points.items()]
        return Chart(title, _svg(figure, title, series, name))


def legend_line(color: str, dashes: tuple[float, ...]) -> Markup:
    """A short piece of a run's line, for legends."""
    pattern = ' '.join(f'{2 * d:g}' for d in dashes)
    return Markup(
        '<svg class="key" width="30" height="12" aria-hidden="true">'
        '<line x1="1" y1="6" x2="29" y2="6" stroke="{}" stroke-width="3" '
        'stroke-dasharray="{}"/></svg>'
    ).format(color, pattern)


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout='constrained')
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def _svg(figure: Figure, title: str, series: Sequence[Series], name: str) -> Markup:
    """The figure's own element: no prologue, no metadata, ids unique in the page."""
    buffer = io.StringIO()
    with mpl.rc_context({'svg.hashsalt': name}):
        figure.savefig(buffer, format='svg', metadata={'Date': None})
    text = buffer.getvalue()
    text = text[text.index('<svg') :]
    text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
    # Inside HTML the namespaces are known.
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', '', text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf'\g<1>{name}-', text)
    # The reader's font, as everywhere on the page.
    text = re.sub(r'font-family: [^;"]*;? ?', '', text)
    words = f'{title}: {", ".join(one.label for one in series)}'
    head = f'<svg class="chart" role="img" aria-label="{escape(words)}"'
    return Markup(text.replace('<svg', head, 1))  # noqa: S704 - escaped above

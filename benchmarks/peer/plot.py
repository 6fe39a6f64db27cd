"""The figure of a comparison: decode and prefill side by side, a bar per engine and number of threads."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.peer.comparison import Comparison, threads_text
from benchmarks.peer.registry import OWN
from benchmarks.peer.rounds import Speeds

_OWN_COLOURS = ("#1b6ca8", "#0b3c5d")
_PEER_COLOURS = ("#c8c8c8", "#8f8f8f")


def write_plot(comparison: Comparison, file: Path) -> None:
    """A PNG with one panel for decode and one for prefill."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in comparison.rows if row.is_timed]
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 1.4 + 0.6 * len(rows)), sharey=True)
    height = 0.8 / len(comparison.threads)
    for panel, title, values in zip(panels, ("decode", "prefill"), (_decode, _prefill), strict=True):
        for number, threads in enumerate(comparison.threads):
            places = [place + height * number for place in range(len(rows))]
            widths = [median(values(row.speeds[threads])) for row in rows]
            colours = [(_OWN_COLOURS if row.contender == OWN else _PEER_COLOURS)[number % 2] for row in rows]
            bars = panel.barh(places, widths, height, color=colours)
            panel.bar_label(bars, [f"{width:.1f}, {threads_text(threads)}" for width in widths], padding=3)
        panel.set_title(f"{title}, tokens/s")
        panel.margins(x=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    middle = 0.4 - height / 2
    names = [f"{row.contender.name}\n{row.difference}".strip() for row in rows]
    panels[0].set_yticks([place + middle for place in range(len(rows))], names)
    panels[0].invert_yaxis()
    figure.suptitle(comparison.title)
    figure.tight_layout()
    figure.savefig(file, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


def _decode(speeds: Speeds) -> list[float]:
    return speeds.decode


def _prefill(speeds: Speeds) -> list[float]:
    return speeds.prefill

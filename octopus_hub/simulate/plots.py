"""Pictures of simulations, as SVG and PNG: use over time, waits by size class, whose use it is.

The only module that needs matplotlib (``pip install 'octopus-hub[simulate]'``). The same figures give the same files,
so that the pictures in the documentation can be made anew and compared. Colours are those of Okabe and Ito, which
people with any kind of colour vision can tell apart; lines differ in their strokes as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.simulate.compare import Result
from octopus_hub.simulate.series import STEPS, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STROKES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 3)))
MINUTE = 1 / 60  # hours
MOST_CLUSTERS = 7  # told apart; the rest is one colour
SIZE_WORDS = {"1": "1 GPU", "2-4": "2 to 4 GPUs", "8": "5 to 8 GPUs", ">8": "more than 8 GPUs"}
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.xmargin": 0.0,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "svg.hashsalt": "octopus-hub",  # ids in the file depend on nothing but the picture
    "svg.fonttype": "path",
}


def draw(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write the pictures of some runs into a folder; returns the files.

    Raises
    ------
    InvalidSpec
        matplotlib is missing, or the folder can't be written.
    """
    require()
    import matplotlib

    names = labels(results)
    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context(_style(matplotlib)):
            for name, picture in (("use", _use), ("waits", _waits), ("shares", _shares)):
                figure = picture(results, names)
                made += [_save(figure, folder / f"{name}.svg"), _save(figure, folder / f"{name}.png")]
    except OSError as error:
        raise InvalidSpec(f"{folder} can't be written: {error.strerror or error}") from None
    return made


def require() -> None:
    """Raise InvalidSpec if there is no matplotlib: asked before hours of simulation."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise InvalidSpec("pictures need matplotlib; install it with pip install 'octopus-hub[simulate]'") from None


def labels(results: Sequence[Result]) -> list[str]:
    """Return what tells the runs apart: the policy, and whatever else differs."""
    many_sizes = len({each.report.gpus for each in results}) > 1
    many_shares = len({each.setup.checkpointing for each in results}) > 1
    found = []
    for each in results:
        name = each.setup.policy
        name += f", {each.report.gpus} GPUs" if many_sizes else ""
        name += f", {each.setup.checkpointing:.0%} checkpoint" if many_shares else ""
        found.append(name)
    return found


def _style(matplotlib: Any) -> dict[Any, Any]:
    """Return all settings, so that nobody's own configuration changes a picture."""
    return {**matplotlib.rcParamsDefault, **_STYLE, "backend": "agg"}


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Figure, path: Path) -> Path:
    metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, metadata=metadata)
    return path


def _days(series: Series) -> list[float]:
    return [(at + 0.5) * series.hours / 24 for at in range(len(series.used))]


def _line(at: int) -> dict[str, Any]:
    return {"color": COLOURS[at % len(COLOURS)], "linestyle": STROKES[at % len(STROKES)]}


def _use(results: Sequence[Result], names: Sequence[str]) -> Figure:
    figure = _figure(9, 3.6)
    axes = figure.add_subplot()
    for at, (each, name) in enumerate(zip(results, names, strict=True)):
        axes.plot(_days(each.series), [100 * used for used in each.series.used], label=name, **_line(at))
    axes.set(title="GPUs held over time", xlabel="days since the first submission", ylabel="share of all GPUs (%)")
    axes.set_ylim(0, 102)
    _legend(figure, axes)
    return figure


def _waits(results: Sequence[Result], names: Sequence[str]) -> Figure:
    classes = [name for name in SIZE_WORDS if any(name in each.series.waits for each in results)]
    figure = _figure(9, 3.1 * ((len(classes) + 1) // 2) + 0.4)
    axes = None
    steps = [100 * step / STEPS for step in range(STEPS + 1)]
    longest = max((waits[-1] for each in results for waits in each.series.waits.values()), default=0.0)
    for place, name in enumerate(classes):
        axes = figure.add_subplot((len(classes) + 1) // 2, min(2, len(classes)), place + 1)
        for at, each in enumerate(results):
            if name in each.series.waits:
                waits = each.series.waits[name]
                soon = max(0, sum(wait <= MINUTE for wait in waits) - 1)  # from here on they can be told apart
                axes.plot([max(wait, MINUTE) for wait in waits[soon:]], steps[soon:], label=names[at], **_line(at))
        axes.set_xscale("log")
        axes.set_xlim(MINUTE, max(28 * 24.0, longest))
        axes.set_xticks(
            [MINUTE, 10 * MINUTE, 1, 24, 24 * 7, 24 * 28], ["≤ 1 min", "10 min", "1 h", "1 d", "7 d", "28 d"]
        )
        axes.minorticks_off()
        axes.set_ylim(0, 101)
        axes.set(title=f"Jobs with {SIZE_WORDS[name]}", xlabel="wait", ylabel="waited at most so long (%)")
    if axes is not None:
        _legend(figure, axes)
    return figure


def _shares(results: Sequence[Result], names: Sequence[str]) -> Figure:
    """Draw whose GPUs were held, one above the other: the same colour for a cluster in every run."""
    totals: dict[str, float] = {}
    for each in results:
        for cluster, used in each.series.clusters.items():
            totals[cluster] = totals.get(cluster, 0.0) + sum(used)
    largest = sorted(totals, key=lambda cluster: (-totals[cluster], cluster))[:MOST_CLUSTERS]
    figure = _figure(9, 2.7 * len(results) + 0.5)
    axes = None
    for at, each in enumerate(results):
        axes = figure.add_subplot(len(results), 1, at + 1)
        layers = [each.series.clusters.get(cluster, (0.0,) * len(each.series.used)) for cluster in largest]
        rest = [max(0.0, used - sum(parts)) for used, *parts in zip(each.series.used, *layers, strict=True)]
        parts = [[100 * used for used in layer] for layer in (*layers, rest)]
        words = [*largest, "others"] if len(totals) > len(largest) else largest
        axes.stackplot(
            _days(each.series),
            *parts[: len(words)],
            labels=words,
            colors=(*COLOURS[:6], "#F0E442", "#999999"),
            lw=0.3,
            edgecolor="white",
        )
        axes.set(title=f"GPUs held by virtual cluster: {names[at]}", ylabel="share of all GPUs (%)")
        axes.set_ylim(0, 102)
    if axes is not None:
        axes.set_xlabel("days since the first submission")
        _legend(figure, axes)
    return figure


def _legend(figure: Figure, axes: Axes) -> None:
    handles, words = axes.get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower center", ncols=min(4, len(words)))

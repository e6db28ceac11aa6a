"""Translation, direction by direction."""

import numpy as np

from benchmarks.tasks import task
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import Source


def directions(source: Source) -> dict[str, str]:
    """Task → `de→en`, for the WMT22 tasks of a run."""
    names = [name for name in source.manifest.get("tasks", ()) if name.startswith("wmt22_")]
    return {name: task.get(name).aliases[0].removeprefix("wmt22_").replace("-", "→") for name in names}


def draw(source: Source):
    numbers, run = source.numbers, source.run
    labels = {name: label for name, label in directions(source).items() if name in run.covered}
    looks = style.looks(run.methods)
    figure, axes = style.canvas(1, 1, height=0.85 + (0.25 + 0.12 * len(looks)) * len(labels))
    panel, offsets = axes[0, 0], np.linspace(-0.32, 0.32, len(looks))
    for row, name in enumerate(labels):
        for offset, (method, look) in zip(offsets, looks.items(), strict=True):
            cells = [numbers.cells[method, s, name] for s in run.seeds if (method, s, name) in numbers.cells]
            if not cells:
                continue
            small = 100 * np.mean([cell.small["quality"].mean() for cell in cells])
            area = 100 * np.mean([cell.curve(run.rule).audc for cell in cells])
            y = row + offset
            panel.plot([small, area], [y, y], color=look["color"], linewidth=0.8, zorder=2)
            panel.plot([small], [y], **look | {"linestyle": "", "markerfacecolor": "white", "zorder": 3})
            panel.plot([area], [y], label=method if row == 0 else None, **look | {"linestyle": "", "zorder": 3})
        large = 100 * run.large[name]["quality"].mean()
        panel.plot([large, large], [row - 0.45, row + 0.45], color=style.GREY, linestyle="--", linewidth=1,
                   label="large alone" if row == 0 else None)  # fmt: skip
    panel.set_yticks(range(len(labels)), labels.values())
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.grid(axis="y", visible=False)
    panel.set_xlabel("sentence chrF: small alone (hollow), cascade (AUDC, filled)")
    style.legend(figure, panel)
    return figure


FIGURE = Figure(
    name="wmt22",
    caption="WMT22 by direction. Hollow marks: the small model alone after each training objective; filled marks: its "
    "cascade, averaged over all deferral rates (AUDC); dashed: the large model alone. Mean sentence chrF; means over "
    "seeds.",
    pick=alone(directions),
    draw=draw,
    wants="a run on WMT22 directions: `python -m benchmarks run nano --data DIR`",
)

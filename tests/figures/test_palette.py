"""Methods can be told apart in every plot, and look alike in all of them."""

import re
from pathlib import Path

import pytest

from benchmarks.keeping import analyses, verify
from benchmarks.report.plots import palette
from cat_keras.storage import store

ROOT = Path(__file__).parents[2]
RUNS = [path for path in verify.folders(ROOT / "results") if not analyses.of(path)]


def appearances(methods) -> list[tuple]:
    return [(look["color"], look["marker"], look["linestyle"]) for look in palette.looks(methods).values()]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_no_two_methods_of_a_committed_run_look_alike(run):
    methods = store.read_json(run / "manifest.json")["methods"]
    assert len(set(appearances(methods))) == len(methods)


@pytest.mark.parametrize("name", ["embedded", "nano", "study"])
def test_methods_of_the_main_runs_have_a_colour_each(name):
    methods = store.read_json(ROOT / "results" / name / "manifest.json")["methods"]
    assert len({color for color, _, _ in appearances(methods)}) == len(methods)


def test_any_number_of_methods_look_different():
    methods = [*palette.USUAL, *(f"new-{i}" for i in range(100)), *(f"xent@rate={i}" for i in range(20))]
    assert len(set(appearances(methods))) == len(methods)
    assert len({str(palette.nth_look(number)) for number in range(320)}) == 320


def test_a_repeated_colour_has_another_marker_and_another_line():
    looks = [palette.nth_look(number) for number in range(24)]
    for number, look in enumerate(looks):
        for other in looks[:number]:
            assert look["color"] != other["color"] or (
                look["marker"] != other["marker"] and look["linestyle"] != other["linestyle"]
            )


def test_a_method_looks_the_same_whatever_stands_beside_it():
    alone = {name: palette.looks([name])[name] for name in palette.USUAL}
    assert palette.looks(["new", *reversed(palette.USUAL)]) | alone == palette.looks(["new", *reversed(palette.USUAL)])
    assert palette.looks(["xent", "new"])["new"] not in [alone[name] for name in palette.USUAL[: palette.RESERVED]]


def test_a_variant_has_the_colour_of_what_it_is_a_variant_of():
    methods = ("xent", "cat-dist", "cat-dist-w0.25", "xent@rate=1", "gatekeeper-0.3")
    color = {name: look["color"] for name, look in palette.looks(methods).items()}
    assert color["cat-dist-w0.25"] == color["cat-dist"] and color["xent@rate=1"] == color["xent"]
    assert color["gatekeeper-0.3"] == palette.looks(["gatekeeper"])["gatekeeper"]["color"]
    assert palette.looks(["xent@rate=1", "dist"])["xent@rate=1"] == palette.looks(["xent"])["xent"]


# sRGB as people without one kind of cones see it: Machado, Oliveira and Fernandes, 2009, severity 1.0.
DEFICIENT = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


@pytest.mark.parametrize("eyes", DEFICIENT)
def test_the_colours_differ_for_the_colour_blind(eyes):
    labs = [_lab(colour, DEFICIENT[eyes]) for colour in palette.COLOURS]
    distances = [_distance(a, b) for i, a in enumerate(labs) for b in labs[:i]]
    assert min(distances) > 15  # ΔE; 2.3 is just noticeable side by side


def _lab(colour: str, eyes) -> list[float]:
    """CIELAB under D65."""
    srgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in srgb]
    seen = [min(1, max(0, sum(m * c for m, c in zip(row, linear, strict=True)))) for row in eyes]
    to_xyz = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(m * c for m, c in zip(row, seen, strict=True)) for row in to_xyz]
    x, y, z = (
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116
        for t in (value / white for value, white in zip(xyz, (0.9505, 1, 1.089), strict=True))
    )
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


def _distance(a, b) -> float:
    return sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5


def test_the_page_of_a_report_has_the_same_colours_and_as_many_shapes_and_dashes():
    page = ROOT / "benchmarks/report/page/html"
    css, script = (page / "page.css").read_text(), (page / "chart.js").read_text()
    for number, colour in enumerate(palette.COLOURS[1:], start=1):
        assert re.search(rf"--m{number}: (light-dark\()?{colour}", css, re.IGNORECASE)
        assert f".m{number} " in css
    assert f"COLOURS = {len(palette.COLOURS)}" in script
    (dashes,) = re.findall(r"DASHES = \[(.*?)\];", script)
    assert dashes.count('"') == 2 * len(palette.LINES)
    (shapes,) = re.findall(r"SHAPES = \[\n(.*?)\n\];", script, re.DOTALL)
    assert len(shapes.splitlines()) == len(palette.MARKERS)

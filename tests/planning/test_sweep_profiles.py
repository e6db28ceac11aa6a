"""Sweeps: points are profiles, and every mistake in a file is said with what is right."""

import pytest

from benchmarks.planning import profile, sweep
from cat_keras.errors import CatKerasError

BASE = 'base = "tiny"\nmethods = ["xent", "cat-xent"]\n'
AXES = """[sweep.axes.noise]
"data.noise" = [0.0, 0.3]
[sweep.axes.width]
"small.width" = [8, 24]
"small.heads" = [1, 3]
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "own.toml").write_text(text)
        return str(tmp_path / "own.toml")

    return write


@pytest.mark.parametrize("name", sweep.names())
def test_a_sweep_of_the_folder_can_be_read(name):
    found = sweep.read(name)
    assert len(found.points) > 1 and len({point.name for point in found.points}) == len(found.points)
    assert all(set(found.validation(p).methods) <= set(p.profile.methods) for p in found.points)


def test_the_map_is_that_of_the_plan():
    found = sweep.read("embedded_map")
    assert len(found.points) == 36 and found.points[0].profile.seeds == (0, 1, 2, 3, 4)
    last = found.points[-1]
    assert last.axes == {"unpredictable": 0.6, "epochs": 2.5, "width": 96}
    assert (last.profile.data.noise, last.profile.large.tune.epochs, last.profile.small.feedforward) == (0.6, 2.5, 192)
    assert last.profile.small == profile.read("embedded_wide").small
    narrow = next(p for p in found.points if p.axes == {"unpredictable": 0.6, "epochs": 2.5, "width": 24})
    assert narrow.profile.small == profile.read("embedded_small").small


def test_points_are_named_after_their_axes_and_changed_alike(written):
    found = sweep.read(written(BASE + "[sweep]\n" + AXES), {"data.test": 7})
    names = ["noise=0,width=8", "noise=0,width=24", "noise=0.3,width=8", "noise=0.3,width=24"]
    assert [point.name for point in found.points] == names
    assert {point.profile.data.test for point in found.points} == {7}
    assert found.points[1].profile.small.heads == 3
    assert found.validation(found.points[0]).methods == ("xent",)
    assert found.validation(found.points[0]).data.evaluate == "validation"
    assert found.points[0].parameters["small"] < found.points[1].parameters["small"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE, r"A sweep has axes.*own\.toml without any.*embedded_map"),
        (BASE + "[sweep]\naxes = 3\n", "A sweep has axes"),
        (BASE + '[sweep.axes.noise]\n"data.noise" = 0.3\n', r"list of values for each.*sweep\.axes\.noise"),
        (BASE + '[sweep.axes.noise]\n"data.noise" = []\n', r"list of values for each.*sweep\.axes\.noise"),
        (BASE + '[sweep.axes.w]\n"small.width" = [8, 16]\n"small.heads" = [1]\n', r"as many.*width 2, small\.heads 1"),
        (BASE + '[sweep.axes.noise]\n"data.noise" = [0.3, 0.3]\n', r"values of an axis differ.*0\.3, 0\.3"),
        (BASE + '[sweep.axes.noise]\n"data.noize" = [0.3, 0.2]\n', r"profile key.*noize.*noise"),
        (BASE + '[sweep.axes.noise]\n"data.noise" = [0.3, 2.0]\n', r"noise=2, key data\.noise"),
        (BASE + "[sweep.axes.seed]\n" + f'"data.seed" = {list(range(1001))}\n', r"at most 1,000 points.*1,001"),
        (BASE + '[sweep.axes.s]\n"data.source" = ["sam/ples", "local"]\n', "name of a run"),
        (BASE + "[sweep]\ndifference = 1\n" + AXES, r"key of sweep.*difference"),
        (BASE + '[sweep]\ndifferences = ["xent"]\n' + AXES, r"differences are pairs"),
        (BASE + '[sweep]\ndifferences = [["dist", "xent"]]\n' + AXES, r"method of the sweep.*dist"),
        (BASE + '[sweep]\nregression = ["headrom"]\n' + AXES, r"axis or measure.*headrom.*headroom"),
        (BASE + '[sweep]\nregression = "headroom"\n' + AXES, "list of axes and measures"),
    ],
)
def test_mistakes_are_said(written, text, message):
    with pytest.raises(CatKerasError, match=message):
        sweep.read(written(text))


def test_a_sweep_is_no_profile(written):
    with pytest.raises(CatKerasError, match=r"grid of them\. Run it as one: python -m benchmarks sweep embedded_map"):
        profile.read("embedded_map")
    with pytest.raises(CatKerasError, match=r"profile.*embedded_mab"):
        sweep.read("embedded_mab")


@pytest.mark.parametrize("count", [1, 2, 5, 12, 50])
def test_shares_are_neighbours_and_all_points_together(count):
    chosen = sweep.read("embedded_map")
    shares = [chosen.share(index, count) for index in range(count)]
    assert [number for share in shares for number in share] == list(range(36))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_share_of_the_points():
    assert sweep.share_of("0/4") == (0, 4) and sweep.share_of("3/4") == (3, 4)
    for text in ("4/4", "1", "a/b", "0/0", "-1/2"):
        with pytest.raises(CatKerasError, match="A share is i/n"):
            sweep.share_of(text)

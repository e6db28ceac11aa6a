"""Numbers of a sweep: those of the curves of its points, and slopes that are known."""

import numpy as np
import pyarrow
import pytest

from benchmarks.keeping import analyses, verify
from benchmarks.report.numbers import sweep
from benchmarks.report.reading import analysis
from benchmarks.report.tables import sweep_table
from cat_keras.errors import CatKerasError
from cat_keras.evaluation import confidence
from cat_keras.evaluation.curves import Outcomes, oracle_audc

N, TASKS, SEEDS, SHARES = 40, ("one", "two"), (0, 1, 2), (0.0, 0.2, 0.4, 0.6)


def invented(shares=SHARES, missing=()):
    """Answers whose scores say the more of their quality after `cat-xent`, the larger the share."""
    rng, parts, points = np.random.default_rng(0), [], []

    def add(key, skill, sharpness):
        for task in TASKS:
            quality = (rng.random(N) < skill).astype(float)
            columns = {"answers": [key] * N, "task": [task] * N, "id": np.arange(N, dtype=np.int32)}
            score = sharpness * quality + rng.random(N)
            parts.append(pyarrow.table(columns | {"quality": quality, "score": score}))
        return key

    for share in shares:
        answers = {"test": {}, "validation": {}}
        for split, own in answers.items():
            own["large"] = add(f"large-{split}-{share}", 0.8, 0)
            for seed in SEEDS:
                own[f"xent/{seed}"] = add(f"xent-{seed}-{split}-{share}", 0.5, 0.3)
                if split == "test":
                    own[f"cat-xent/{seed}"] = add(f"cat-{seed}-{split}-{share}", 0.5, 0.3 + share)
        points.append(
            {"name": f"share={share}", "axes": {"share": share}, "parameters": {"large": 800, "small": 100},
             "seeds": list(SEEDS), "methods": ["xent", "cat-xent"], "tasks": list(TASKS),
             "live": {"xent": 1.0, "cat-xent": 1 - share / 2 + 0.01 * (share > 0.3)}, "answers": answers}
        )  # fmt: skip
    facts = {"name": "invented", "points": points, "missing": list(missing), "differences": [["cat-xent", "xent"]],
             "regression": ["share"], "axes": ["share"]}  # fmt: skip
    return analysis.described(pyarrow.concat_tables(parts), facts)


def outcomes(frame, key, large, task):
    small, other = (frame[(frame.answers == k) & (frame.task == task)] for k in (key, large))
    return Outcomes(small["score"].to_numpy(), small["quality"].to_numpy(), other["quality"].to_numpy())


def test_a_point_has_the_numbers_of_its_curves():
    table = invented()
    (standing,) = sweep.standings(table, resamples=3)
    place, frame = standing.places[2], table.to_pandas()
    share, areas, gains = SHARES[2], {}, {}
    for method, start in (("xent", "xent"), ("cat-xent", "cat")):
        by_seed = [
            [outcomes(frame, f"{start}-{seed}-test-{share}", f"large-test-{share}", task) for task in TASKS]
            for seed in SEEDS
        ]
        areas[method] = np.mean([[own.curve().audc for own in each] for each in by_seed])
        gains[method] = np.mean(
            [
                (np.mean([o.curve().audc for o in each]) - np.mean([o.curve().random_audc for o in each]))
                / np.mean([oracle_audc(o.quality_small, o.quality_large) - o.curve().random_audc for o in each])
                for each in by_seed
            ]
        )
    assert place.samples["audc"][0] == pytest.approx(areas["cat-xent"] - areas["xent"], abs=1e-6)
    assert place.samples["s_d"][0] == pytest.approx(gains["cat-xent"] - gains["xent"], abs=1e-6)
    assert place.levels["audc"] == pytest.approx(areas["xent"], abs=1e-6)
    held = [
        outcomes(frame, f"xent-{s}-validation-{share}", f"large-validation-{share}", t) for s in SEEDS for t in TASKS
    ]
    assert place.measured["headroom"] == pytest.approx(
        np.mean([(o.quality_large - o.quality_small).mean() for o in held])
    )
    assert place.measured["auroc"] == pytest.approx(
        np.mean([confidence.auroc(o.score, o.quality_small > 0.5) for o in held])
    )
    assert (place.measured["capacity"], place.measured["live"]) == (3.0, pytest.approx(0.81))


def test_slopes_are_of_a_line_through_the_points():
    (standing,) = sweep.standings(invented(), resamples=200)
    slopes = {(s.response, s.model, s.predictor): s.interval for s in standing.slopes}
    slope, low, high = slopes["s_d", "share", "share"]
    values = [place.samples["s_d"][0] for place in standing.places]
    assert slope == pytest.approx(np.polyfit(SHARES, values, 1)[0]) and 0 < low < slope < high
    assert ("s_d", "headroom + live + auroc", "live") not in slopes  # four points, four coefficients
    assert sweep.standings(invented(SHARES[:2]), resamples=3)[0].slopes == []


def test_a_sweep_is_kept_and_verified(tmp_path, monkeypatch):
    table = invented(missing=("share=0.9",))
    folder = analyses.keep(table, "sweep", tmp_path / "kept")
    assert not verify.verify(folder).problems
    assert "Not there yet: 1 points" in (folder / "table.md").read_text()
    header, first = (folder / "points.csv").read_text().splitlines()[:2]
    assert header.startswith("method,versus,share,seeds,parameters_large") and first.startswith("cat-xent,xent,0,3,800")
    (folder / "regression.csv").write_text("response\n")
    assert "regression.csv" in verify.verify(folder).problems[0]


def test_methods_that_a_point_lacks_are_left_out():
    table = invented()
    facts = analysis.facts(table)
    facts["points"][0]["methods"] = ["xent"]
    (standing,) = sweep.standings(analysis.described(table, facts), resamples=3)
    assert len(standing.places) == 3
    assert len(sweep_table.tables([standing], facts)[0].rows) == 3
    with pytest.raises(CatKerasError, match="has a point that is finished"):
        sweep.standings(analysis.described(table.slice(0, 0), facts))

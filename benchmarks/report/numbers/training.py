"""The course of each method's training."""

from collections.abc import Mapping

import numpy as np

from benchmarks.report.reading.load import Run

Course = tuple[list[float], list[float]]  # steps, share of live target tokens


def live(run: Run) -> Mapping[str, Course]:
    """Method → steps and share of live tokens, mean over the seeds whose course is noted; {} where none is."""
    courses = {}
    for method in run.methods:
        histories = [run.histories.get(f"{method}/{seed}") for seed in run.seeds]
        histories = [history for history in histories if history]
        # Seeds of one method train equally long; a history of another length is not averaged with them.
        histories = [history for history in histories if history["step"] == histories[0]["step"]]
        if histories:
            shares = np.mean([history["live"] for history in histories], axis=0)
            courses[method] = (list(histories[0]["step"]), shares.tolist())
    return courses

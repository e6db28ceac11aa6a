"""What the manifest keeps of each training's course."""

from collections.abc import Mapping

import numpy as np

from benchmarks.report.reading.load import Run

Course = tuple[list[float], list[float]]  # steps, share of live target tokens


def live(run: Run) -> Mapping[str, Course]:
    """Method → steps and share of live tokens, mean over the seeds whose course is there; {} where none is."""
    noted = run.manifest.get("training") or {}
    courses = {}
    for method in run.methods:
        found = [noted.get(f"{method}/{seed}", {}).get("history") for seed in run.seeds]
        found = [course for course in found if course]
        # Seeds of one method train equally long; a course of another length is not averaged with them.
        found = [course for course in found if course["step"] == found[0]["step"]]
        if found:
            courses[method] = (list(found[0]["step"]), np.mean([course["live"] for course in found], axis=0).tolist())
    return courses

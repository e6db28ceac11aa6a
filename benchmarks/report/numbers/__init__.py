"""Step 2 of a report, numbers: all that it says, computed from the predictions of a run.

From the ground up, each module builds on those before it:

    measures, costs, outcome     what is measured of a curve or a score; units of cost; win, tie or loss
    cells, averages, strata      one model on one task; means over tasks and seeds; quality by group of examples
    intervals                    resamples of the AUDC, with the intervals, tests and bands that follow from them
    rule_resamples, rules        deferral rules beside each other
    summary                      the rows of the main table, and all the above in one object
    scopes, grids, training      curves per suite or cluster; a grid's points; the course of trainings
    per_task, resampled_curves   one record per task; whole trade-offs in every resample
    changes, cautions            each method against the others; warnings
    routing                      a decision before any answer, against the cascade
"""

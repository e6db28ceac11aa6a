"""One module per figure; each holds a `FIGURE` and the function that draws it."""

from paper_figs.figures import (
    alignment,
    auroc,
    cascade_mask,
    gains,
    live_tokens,
    load,
    mask_ablation,
    methods,
    overview,
    quality_cost,
    regimes,
    rejection,
    retrieval,
    rules,
    scores,
    sizes,
    task_deltas,
    tasks,
    teacher_bits,
    token_level,
    w_sweep,
    wmt22,
)

FIGURES = tuple(
    module.FIGURE
    for module in (
        overview,
        cascade_mask,
        live_tokens,
        quality_cost,
        methods,
        task_deltas,
        gains,
        tasks,
        scores,
        auroc,
        alignment,
        rules,
        mask_ablation,
        w_sweep,
        regimes,
        sizes,
        wmt22,
        token_level,
        load,
        rejection,
        retrieval,
        teacher_bits,
    )
)

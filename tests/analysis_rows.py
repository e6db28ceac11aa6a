"""Invented rows of analyses, as `reject` and `retrieve` write them."""

import json

import numpy as np
import pyarrow


def rejection_rows(n=40):
    rng = np.random.default_rng(0)
    rows = [
        {"elsewhere": "scrambled", "method": "xent", "seed": seed, "task": "sst2", "id": f"{i:016x}",
         "outside": i % 3 == 0, "loss": float(i % 2), "max-probability": rng.uniform(), "plugin-ood": rng.uniform()}
        for seed in (0, 1) for i in range(n)
    ]  # fmt: skip
    facts = {"share": 0.3, "c_fn": 0.75, "deferral": 0.0}
    return pyarrow.Table.from_pylist(rows).replace_schema_metadata({"cat_keras": json.dumps(facts)})


def retrieval_rows(n=12, elastic=False):
    rng = np.random.default_rng(1)

    def row(model, seed, i, reranked=0):
        measures = {name: float(rng.integers(2)) for name in ("RR@10", "nDCG@10", "R@10", "R@100")}
        asked = {"model": model, "seed": seed, "reranked": reranked, "query": f"who wrote book {i}", "flops": 2e6}
        return asked | measures

    rows = [row(model, seed, i) for model in ("teacher", "alone", "scores") for seed in (0, 1) for i in range(n)]
    facts = {"labels": {"teacher": "teacher", "alone": "labels alone", "scores": "scores"},
             "before": {"scores": "alone"},
             "parameters": {"teacher": 10, "alone": 5, "scores": 5}, "documents": 9,
             "queries": {"train": 20, "test": n}, "profile": {}}  # fmt: skip
    if elastic:
        facts["elastic"] = {"sizes": ["half", "whole"], "reranked": 5}
        for kind, reranked in (("denser", 0), ("ranker", 5)):
            for size in ("half", "whole"):
                facts["parameters"][f"{kind}-{size}"] = 7
                rows += [row(f"{kind}-{size}", 0, i, reranked) for i in range(n)]
    return pyarrow.Table.from_pylist(rows).replace_schema_metadata({"cat_keras": json.dumps(facts)})

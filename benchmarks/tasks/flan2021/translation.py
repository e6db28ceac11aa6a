"""Translation between English and another language, in the direction that the name of the task says.

FLAN translates every pair both ways. Here `wmt16_translate_deen` is only from German into English, as `wmt22_deen` is,
and WMT22 has the other directions.
"""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Filled, Task, register
from benchmarks.tasks.wmt22 import LANGUAGES

NAMES = LANGUAGES | {"es": "Spanish", "fi": "Finnish", "ro": "Romanian", "tr": "Turkish"}
WMT_SPLITS = {"train": "train[:30000]", "validation": "validation[:200]", "test": "test"}


def _translation(name: str, source: str, target: str, data: Dataset, splits: dict, license: str, citation: str) -> Task:
    return Task(
        name=name,
        suites=("flan2021",),
        cluster="translation",
        kind="generation",
        source=data,
        splits=splits,
        templates=(
            f"{NAMES[source]}: {{{source}}}\n{NAMES[target]}:\n",
            f"Translate from {NAMES[source]} into {NAMES[target]}.\n{{{source}}}\nTranslation:\n",
            f"{{{source}}}\nThe {NAMES[source]} text above, put into {NAMES[target]}:\n",
        ),
        text="verbatim",  # an official metric scores the characters of the references
        cut={source: "end"},
        target=target,
        keep=Filled((source, target)),
        metric="bleu",
        max_lengths=(256, 256),
        license=license,
        citation=citation,
        version=2,
    )


def _wmt16(source: str) -> Task:
    return _translation(
        f"wmt16_translate_{source}en",
        source,
        "en",
        Dataset(f"wmt16_translate/{source}-en", "1.0.0"),
        WMT_SPLITS,
        "WMT test sets: research use",
        "Bojar et al., 2016, WMT16 findings, https://aclanthology.org/W16-2301",
    )


register(
    _translation(
        "para_crawl_enes",
        "en",
        "es",
        Dataset("para_crawl/enes", "1.2.0"),
        {"train": "train[:30000]", "validation": "train[-1200:-1000]", "test": "train[-1000:]"},
        "CC0 (ParaCrawl)",
        "Bañón et al., 2020, ParaCrawl, https://aclanthology.org/2020.acl-main.417",
    )
)

register(
    _translation(
        "wmt14_enfr",
        "en",
        "fr",
        Dataset("wmt14_translate/fr-en", "1.0.0"),
        WMT_SPLITS,
        "WMT test sets: research use",
        "Bojar et al., 2014, WMT14 findings, https://aclanthology.org/W14-3302",
    )
)

register(_wmt16("de"))
register(_wmt16("cs"))
register(_wmt16("fi"))
register(_wmt16("ro"))
register(_wmt16("ru"))
register(_wmt16("tr"))

"""Say it in fewer words. FLAN counts the topic of a news item among the summaries."""

import re

from benchmarks.sources import Dataset
from benchmarks.tasks import residue
from benchmarks.tasks.task import Filled, Row, Task, register

FROM_VALIDATION = {"train": "train[:30000]", "validation": "validation[:200]", "test": "test"}
# Both opinion corpora have a single part.
FROM_TRAIN = {"train": "train[:-600]", "validation": "train[-600:-500]", "test": "train[-500:]"}
# A prompt shows no more opinions on one thing than these; there may be hundreds.
OPINIONS = 10


def _readable(text: str) -> str:
    """The corpus writes `\\` for a line break, and leaves the ampersand out of entities: `#36;`, `quot;`."""
    text = re.sub(r"&?(quot|nbsp|#\d+);|(?:&|(?<!\w))(amp|lt|gt);", r"&\1\2;", text.replace("\\", " "))
    return " ".join(residue.html_text(text).split())


def _readable_news(row: Row) -> dict:
    return {name: _readable(row[name]) for name in ("title", "description")}


def _separate_articles(row: Row) -> dict:
    """The corpus separates the articles of a cluster by five bars."""
    articles = [article.strip() for article in row["document"].split("|||||")]
    return {"document": "\n\n".join(article for article in articles if article)}


def _highlights(row: Row) -> str:
    """The corpus writes one sentence per line, with a blank before its full stop. ROUGE-Lsum counts by these lines."""
    return "\n".join(line.replace(" .", ".").strip() for line in row["highlights"].splitlines() if line.strip())


def _one_sentence(row: Row) -> str:
    """GEM calls the summary `target`; the original release, which a local copy may hold, `summary`."""
    return row["target"] if "target" in row else row["summary"]


def _has_both(row: Row) -> bool:
    return bool(row["document"].strip() and _one_sentence(row).strip())


def _reviews(row: Row) -> dict:
    return {"name": row["_movie_name"].replace("_", " "), "opinions": _lines(row["_critics"]["value"])}


def _arguments(row: Row) -> dict:
    return {"name": row["_debate_name"].replace("_", " "), "opinions": _lines(row["_argument_sentences"]["value"])}


def _lines(texts: list[str]) -> str:
    return "\n".join(f"- {' '.join(text.split())}" for text in texts[:OPINIONS])


register(
    Task(
        name="aeslc",
        suites=("flan2021",),
        cluster="summarization",
        kind="generation",
        source=Dataset("aeslc", "1.0.0"),
        splits={"train": "train", "validation": "validation[-200:]", "test": "test"},
        templates=(
            "E-mail:\n{email_body}\n\nSubject:\n",
            "Give this message a subject line.\n{email_body}\n\nSubject line:\n",
            "{email_body}\n\nIn an inbox that would be listed as:\n",
        ),
        text="html",
        cut={"email_body": "end"},
        target="subject_line",
        keep=Filled(("email_body", "subject_line")),
        metric="rouge",
        max_lengths=(512, 32),
        license="CC BY-NC-SA 4.0",
        citation="Zhang and Tetreault, 2019, AESLC, https://aclanthology.org/P19-1043",
        version=2,
    )
)

register(
    Task(
        name="ag_news_subset",
        aliases=("ag_news",),
        suites=("flan2021",),
        cluster="summarization",
        kind="classification",
        source=Dataset("ag_news_subset", "1.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "test"},
        templates=(
            "{title}\n{description}\nThis news is about the world, sports, business or technology:\n",
            "In which section would a paper print this (world, sports, business, technology)?\n{title}\n{description}\n"
            "Section:\n",
            "Headline: {title}\n{description}\nDesk in charge - world, sports, business or technology:\n",
        ),
        text="html",
        cut={"description": "end"},
        fields=_readable_news,
        target="label",
        options=("world", "sports", "business", "technology"),
        labels=("World", "Sports", "Business", "Sci/Tech"),
        metric="accuracy",
        max_lengths=(256, 8),
        license="AG corpus: non-commercial research",
        citation="Zhang, Zhao and LeCun, 2015, arXiv 1509.01626",
        version=2,
    )
)

register(
    Task(
        name="cnn_dailymail",
        suites=("flan2021",),
        cluster="summarization",
        kind="generation",
        source=Dataset("cnn_dailymail", "3.4.0"),
        splits=FROM_VALIDATION,
        templates=(
            "{article}\n\nThe highlights:\n",
            "News in brief, three or four sentences on the story below.\n{article}\n\nIn brief:\n",
            "Article: {article}\n\nWhat a hurried reader should take away:\n",
        ),
        cut={"article": "end"},
        target=_highlights,
        keep=Filled(("article", "highlights")),
        metric="rouge",
        max_lengths=(1024, 128),
        license="Apache 2.0 (corpus); articles belong to CNN and Daily Mail",
        citation="Hermann et al., 2015, arXiv 1506.03340; See, Liu and Manning, 2017, arXiv 1704.04368",
        version=2,
    )
)

register(
    Task(
        name="gigaword",
        suites=("flan2021",),
        cluster="summarization",
        kind="generation",
        source=Dataset("gigaword", "1.2.0"),
        splits=FROM_VALIDATION,
        templates=(
            "{document}\nHeadline:\n",
            "First sentence of a report: {document}\nTitle above it:\n",
            "Cut this down to a headline, all in lower case. {document}\nCut down:\n",
        ),
        cut={"document": "end"},
        target="summary",
        keep=Filled(("document", "summary")),
        metric="rouge",
        max_lengths=(128, 32),
        license="LDC English Gigaword: no redistribution",
        citation="Rush, Chopra and Weston, 2015, https://aclanthology.org/D15-1044",
        version=2,
    )
)

register(
    Task(
        name="multi_news",
        suites=("flan2021",),
        cluster="summarization",
        kind="generation",
        source=Dataset("multi_news", "2.1.0"),
        splits=FROM_VALIDATION,
        templates=(
            "{document}\n\nAll of these reports in one summary:\n",
            "Several papers cover one event. Bring them together in a paragraph.\n{document}\n\nParagraph:\n",
            "Sources:\n{document}\n\nDigest:\n",
        ),
        text="html",
        cut={"document": "end"},
        fields=_separate_articles,
        target="summary",
        keep=Filled(("document", "summary")),
        metric="rouge",
        max_lengths=(1024, 384),
        license="non-commercial research (Yale-LILY); articles belong to their papers",
        citation="Fabbri et al., 2019, Multi-News, https://aclanthology.org/P19-1102",
        version=2,
    )
)

register(
    Task(
        name="newsroom",
        suites=("flan2021",),
        cluster="summarization",
        kind="generation",
        source=Dataset("newsroom", "1.0.0"),
        splits=FROM_VALIDATION,
        templates=(
            "{title}\n{text}\n\nSummary:\n",
            "What would the teaser of this article say? {text}\n\nTeaser:\n",
            "An editor sums up the piece below for the front page.\n{title}\n{text}\n\nFront page:\n",
        ),
        text="html",
        cut={"text": "end"},
        target="summary",
        keep=Filled(("text", "summary")),
        metric="rouge",
        max_lengths=(1024, 128),
        license="on request to the authors (Cornell Newsroom)",
        citation="Grusky, Naaman and Artzi, 2018, Newsroom, https://aclanthology.org/N18-1065",
        version=2,
    )
)

register(
    Task(
        name="opinion_abstracts_idebate",
        suites=("flan2021",),
        cluster="summarization",
        kind="generation",
        source=Dataset("opinion_abstracts/idebate", "1.0.0"),
        splits=FROM_TRAIN,
        templates=(
            "Debate: {name}\nArguments:\n{opinions}\nThe claim they make:\n",
            "{opinions}\nPut the point of these arguments into one sentence:\n",
            'In a debate on "{name}" one side says:\n{opinions}\nIn short:\n',
        ),
        text="html",
        cut={"opinions": "end"},
        fields=_arguments,
        target="_claim",
        keep=Filled(("_claim",)),
        metric="rouge",
        max_lengths=(512, 64),
        license="not stated (idebate.org)",
        citation="Wang and Ling, 2016, https://aclanthology.org/N16-1007",
        version=2,
    )
)

register(
    Task(
        name="opinion_abstracts_rotten_tomatoes",
        suites=("flan2021",),
        cluster="summarization",
        kind="generation",
        source=Dataset("opinion_abstracts/rotten_tomatoes", "1.0.0"),
        splits=FROM_TRAIN,
        templates=(
            "Reviews of {name}:\n{opinions}\nWhat the critics agree on:\n",
            "{opinions}\nOne sentence that sums up these opinions on {name}:\n",
            "Critics on the film {name}:\n{opinions}\nOn the whole:\n",
        ),
        text="html",
        cut={"opinions": "end"},
        fields=_reviews,
        target="_critic_consensus",
        keep=Filled(("_critic_consensus",)),
        metric="rouge",
        max_lengths=(1024, 64),
        license="not stated (rottentomatoes.com)",
        citation="Wang and Ling, 2016, https://aclanthology.org/N16-1007",
        version=2,
    )
)

register(
    Task(
        name="samsum",
        suites=("flan2021",),
        cluster="summarization",
        kind="generation",
        source=Dataset("samsum", "1.0.0"),
        splits={"train": "train", "validation": "validation[:200]", "test": "test"},
        templates=(
            "{dialogue}\n\nWhat this chat comes to:\n",
            "Tell somebody who was not there what was said.\n{dialogue}\n\nReport:\n",
            "Messages:\n{dialogue}\n\nSummary in the third person:\n",
        ),
        cut={"dialogue": "start"},
        target="summary",
        keep=Filled(("dialogue", "summary")),
        metric="rouge",
        max_lengths=(512, 96),
        license="CC BY-NC-ND 4.0",
        citation="Gliwa et al., 2019, SAMSum, https://aclanthology.org/D19-5409",
        version=2,
    )
)

register(
    Task(
        name="wiki_lingua_english_en",
        suites=("flan2021",),
        cluster="summarization",
        kind="generation",
        source=Dataset("gem/wiki_lingua_english_en", "1.1.0"),
        splits=FROM_VALIDATION,
        templates=(
            "{source}\n\nThe steps in brief:\n",
            "Shorten these instructions to the essential steps.\n{source}\n\nEssential steps:\n",
            "How-to: {source}\n\nChecklist:\n",
        ),
        cut={"source": "end"},
        target="target",
        references="references",
        keep=Filled(("source", "target")),
        metric="rouge",
        max_lengths=(1024, 128),
        license="CC BY-NC-SA 3.0",
        citation="Ladhak et al., 2020, WikiLingua, https://aclanthology.org/2020.findings-emnlp.360",
        version=2,
    )
)

register(
    Task(
        name="xsum",
        suites=("flan2021",),
        cluster="summarization",
        kind="generation",
        # The GEM release is the one that TFDS can download; a local copy may have the original fields.
        source=Dataset("gem/xsum", "1.1.0", local=("gem/xsum", "xsum")),
        splits=FROM_VALIDATION,
        templates=(
            "{document}\n\nIn one sentence:\n",
            "Report: {document}\n\nThe sentence a newsreader would open with:\n",
            "What is this about? {document}\n\nOne sentence:\n",
        ),
        cut={"document": "end"},
        target=_one_sentence,
        keep=_has_both,
        metric="rouge",
        max_lengths=(1024, 64),
        license="MIT (corpus); articles belong to the BBC",
        citation="Narayan, Cohen and Lapata, 2018, XSum, https://aclanthology.org/D18-1206",
        version=2,
    )
)

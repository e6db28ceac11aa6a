"""Is it meant well or ill?"""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Row, Task, register

OPTIONS = ("negative", "positive")


def _without_escapes(row: Row) -> dict:
    """The corpus writes line breaks as backslash-n and doubles its quotation marks."""
    return {"text": row["text"].replace("\\n", "\n").replace('\\""', '"').replace('\\"', '"')}


def _is_positive(row: Row) -> int:
    return int(row["polarity"] == 4)


def _takes_sides(row: Row) -> bool:
    """Polarity 0 or 4. A neutral 2 occurs only among the hand-labelled test tweets, so it cannot be learned."""
    return row["polarity"] in (0, 4)


register(
    Task(
        name="imdb_reviews",
        aliases=("imdb",),
        suites=("flan2021",),
        cluster="sentiment",
        kind="classification",
        source=Dataset("imdb_reviews/plain_text", "1.0.0"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
        templates=(
            "Review: {text}\nVerdict, negative or positive:\n",
            "{text}\nWould this person call the film good? Negative or positive:\n",
            "Somebody has seen a film and is negative or positive about it.\n{text}\nOpinion:\n",
        ),
        text="html",
        cut={"text": "start"},
        target="label",
        options=OPTIONS,
        labels=("neg", "pos"),
        metric="accuracy",
        max_lengths=(512, 8),
        license="not stated (IMDb users' reviews)",
        citation="Maas et al., 2011, https://aclanthology.org/P11-1015",
        version=2,
    )
)

register(
    Task(
        name="sentiment140",
        suites=("flan2021",),
        cluster="sentiment",
        kind="classification",
        source=Dataset("sentiment140", "1.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "test"},
        templates=(
            "Tweet: {text}\nMood, negative or positive:\n",
            "{text}\nThe one who posted this felt negative or positive:\n",
            "Put a label on the post, negative or positive. {text}\nLabel:\n",
        ),
        cut={"text": "start"},
        target=_is_positive,
        options=OPTIONS,
        keep=_takes_sides,
        metric="accuracy",
        max_lengths=(128, 8),
        license="not stated (research)",
        citation="Go, Bhayani and Huang, 2009, Twitter Sentiment Classification using Distant Supervision",
        version=2,
    )
)

register(
    Task(
        name="sst2",
        suites=("flan2021",),
        cluster="sentiment",
        kind="classification",
        source=Dataset("glue/sst2", "2.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "Review: {sentence}\nVerdict, negative or positive:\n",
            '"{sentence}" - a critic on a film. The tone is negative or positive:\n',
            "Words about a film: {sentence}\nPraise is positive, blame is negative. These are:\n",
        ),
        cut={"sentence": "start"},
        target="label",
        options=OPTIONS,
        labels=("negative", "positive"),
        metric="accuracy",
        max_lengths=(128, 8),
        license="not stated",
        citation="Socher et al., 2013, SST, https://aclanthology.org/D13-1170",
        version=2,
    )
)

register(
    Task(
        name="yelp_polarity_reviews",
        aliases=("yelp",),
        suites=("flan2021",),
        cluster="sentiment",
        kind="classification",
        source=Dataset("yelp_polarity_reviews", "0.2.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "test"},
        templates=(
            "Review: {text}\nVerdict, negative or positive:\n",
            "{text}\nAs a rating of the place that is negative or positive:\n",
            "A guest reports, in a negative or a positive way.\n{text}\nWay:\n",
        ),
        text="html",
        cut={"text": "start"},
        fields=_without_escapes,
        target="label",
        options=OPTIONS,
        # The data have two ratings, 1 and 2 stars.
        labels=("1", "2"),
        metric="accuracy",
        max_lengths=(512, 8),
        license="Yelp dataset terms (academic)",
        citation="Zhang, Zhao and LeCun, 2015, arXiv 1509.01626",
        version=2,
    )
)

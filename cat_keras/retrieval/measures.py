"""Measures of rankings, by the library ir-measures."""

from collections.abc import Mapping, Sequence

import numpy as np

from cat_keras.errors import CatKerasError
from cat_keras.retrieval.collection import Collection

MEASURES = ("RR@10", "nDCG@10", "R@10", "R@100")  # of which the mean of RR@10 is MRR@10


def per_query(collection: Collection, rankings: np.ndarray, names: Sequence[str] = MEASURES) -> dict[str, np.ndarray]:
    """Measures of the ranking of every query, in the order of the collection's queries.

    Args:
        collection: n queries. rankings: (n, k) rows of documents, best first; −1 for none.
        names: as ir-measures writes them.

    Returns:
        name → (n,) float64.

    Raises:
        CatKerasError: another number of rankings, or a measure that ir-measures does not know.
    """
    try:
        import ir_measures
    except ImportError as error:
        raise CatKerasError(
            f"Rankings are judged by ir-measures. Received: {error}. pip install 'cat-keras[retrieval]'"
        ) from None
    if len(rankings) != len(collection.queries):
        raise CatKerasError(
            f"There is a ranking for each of {len(collection.queries)} queries. Received: {len(rankings)}"
        )
    try:
        measures = {name: ir_measures.parse_measure(name) for name in names}
    except (NameError, ValueError, SyntaxError) as error:
        raise CatKerasError(f"A measure is one of ir-measures. Received: {error}. Try {', '.join(MEASURES)}") from None
    documents, queries = list(collection.documents), list(collection.queries)
    relevant: Mapping = {query: dict.fromkeys(collection.relevant[query], 1) for query in queries}
    # The rank decides, not the score, so that equal scores are not put in another order.
    run = {
        query: {documents[row]: float(len(ranking) - i) for i, row in enumerate(ranking) if row >= 0}
        for query, ranking in zip(queries, rankings, strict=True)
    }
    place = {query: i for i, query in enumerate(queries)}
    values = {name: np.zeros(len(queries)) for name in names}  # a query without any document found has 0
    back = {measure: name for name, measure in measures.items()}
    for metric in ir_measures.iter_calc(list(measures.values()), relevant, run):
        values[back[metric.measure]][place[metric.query_id]] = metric.value
    return values

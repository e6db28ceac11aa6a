"""One set of weights at several sizes, each of which is a language model of its own.

`sizes` says what a size is and which sizes are nested. `families` knows where layers, heads and units are in the
weights of each family, `shared` makes a model that reads the first part of another model's weights, and `elastic` joins
them. `reordering` puts the important heads and units first. `cat_keras.training.elastic` trains all sizes at once.

ElasticLM (arXiv 2311.07204) could be read in its abstract alone, and has no public code. The definition here is ours,
put together from its first author's once-for-all BERT and from MatFormer (arXiv 2310.07707).
"""

from cat_keras.modeling.elastic.elastic import Elastic
from cat_keras.modeling.elastic.reordering import reorder
from cat_keras.modeling.elastic.sizes import Size

__all__ = ["Elastic", "Size", "reorder"]

"""Rational tuning: thresholds of long cascades from few labels, by a model of how confidences go together.

Zellinger and Thomson, arXiv 2501.09345. A grid of thresholds grows with every stage, and what few labelled queries say
of each of its points is mostly chance. Here a model with a few numbers per stage is fitted instead, and the best
thresholds follow from it:

* `confidence`: a score becomes the probability of being right, φ, by logistic regression; φ of one model has a
  distribution of two betas between its least and its largest value, at which there may be masses of equal scores;
* `chain`: neighbours are joined by a Gumbel copula, φ₁ → φ₂ → … is taken as a Markov chain, and quality and cost of a
  cascade are then functions of its thresholds.
"""

from cat_keras.cascades.rational.chain import PRICES, Chain, path
from cat_keras.cascades.rational.confidence import Confidence, spread

__all__ = ["PRICES", "Chain", "Confidence", "path", "spread"]

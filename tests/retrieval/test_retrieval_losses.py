"""The objectives by hand values."""

import math

import numpy as np
import pytest
from keras import ops

from cat_keras.errors import CatKerasError
from cat_keras.retrieval import Objective, losses

LABELS = np.array([[1, 0, -1], [0, 1, 0]], np.int8)
SCORES = np.array([[2.0, 1.0, 9.0], [0.0, 1.0, -1.0]], np.float32)


def numbers(value):
    return ops.convert_to_numpy(value)


def test_softmax_leaves_out_what_is_relevant_too():
    first = -math.log(math.exp(2) / (math.exp(2) + math.exp(1)))  # the third document has no share
    second = -math.log(math.exp(1) / (1 + math.exp(1) + math.exp(-1)))
    np.testing.assert_allclose(numbers(losses.contrastive(SCORES, LABELS)), [first, second], rtol=1e-6)


def test_score_distillation_is_the_divergence_of_two_softmaxes():
    teacher = np.array([[0.0, 0.0, 5.0], [math.log(3), 0.0, np.nan]], np.float32)
    student = [1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))]  # softmax of (2, 1)
    first = 0.5 * math.log(0.5 / student[0]) + 0.5 * math.log(0.5 / student[1])
    student = [1 / (1 + math.e), math.e / (1 + math.e)]  # softmax of (0, 1): the third was not scored
    second = 0.75 * math.log(0.75 / student[0]) + 0.25 * math.log(0.25 / student[1])
    got = numbers(losses.score_distillation(SCORES, teacher, LABELS))
    np.testing.assert_allclose(got, [first, second], rtol=1e-5)
    same = numbers(losses.score_distillation(SCORES, SCORES + 3, LABELS))  # a softmax does not see a sum
    np.testing.assert_allclose(same, [0, 0], atol=1e-6)


def test_embedding_matching_is_a_distance_and_not_its_square():
    got = numbers(losses.embedding_matching(np.array([[3.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 4.0], [1.0, 1.0]])))
    np.testing.assert_allclose(got, [5.0, 0.0], atol=2e-6)


def test_objective_is_the_weighted_sum():
    teacher = {
        "teacher_scores": np.zeros((2, 3), np.float32),
        "teacher_query": np.array([[0.0, 0.0], [0.0, 2.0]], np.float32),
        "teacher_document": np.array([[1.0, 0.0]] * 3, np.float32),
    }
    outputs = {"scores": SCORES, "query": np.array([[3.0, 4.0], [0.0, 0.0]]), "document": np.array([[1.0, 1.0]] * 3)}
    loss, first = Objective(0.5, 2.0, 3.0, 4.0)(outputs, LABELS, teacher)
    expected = (
        0.5 * numbers(losses.contrastive(SCORES, LABELS)).mean()
        + 2 * numbers(losses.score_distillation(SCORES, teacher["teacher_scores"], LABELS)).mean()
        + 3 * (5 + 2) / 2
        + 4 * 1
    )
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(first) == 1  # the third document of the first query does not count, though its score is the highest


def test_gradients_are_finite_where_vectors_agree_and_pairs_are_unknown():
    import tensorflow as tf

    vectors = tf.Variable(np.ones((2, 3), np.float32))
    teacher = np.array([[np.nan, 1.0, 0.0], [np.nan, np.nan, 1.0]], np.float32)
    with tf.GradientTape() as tape:
        distance = losses.embedding_matching(vectors, np.ones((2, 3), np.float32))
        loss = tf.reduce_sum(distance) + tf.reduce_sum(losses.score_distillation(vectors * SCORES, teacher, LABELS))
    assert np.isfinite(tape.gradient(loss, vectors).numpy()).all()


def test_bad_weights():
    with pytest.raises(CatKerasError, match="at least one weight above 0"):
        Objective(labels=0)
    with pytest.raises(CatKerasError, match="weight scores"):
        Objective(scores=-1)

"""Streams of requests: their rates, and traces as they are and as they must not be."""

import numpy as np
import pytest

from cat_keras.errors import CatKerasError
from cat_keras.serving import streams


@pytest.mark.parametrize("name", streams.STREAMS)
def test_a_stream_has_its_rate_and_its_seed(name):
    make = streams.STREAMS[name]
    arrivals = make(50.0, 40_000, 1)
    assert len(arrivals) == 40_000 and (np.diff(arrivals) >= 0).all() and arrivals[0] > 0
    assert streams.mean_rate(arrivals) == pytest.approx(50, rel=0.15 if name == "bursts" else 0.03)
    assert np.array_equal(arrivals, make(50.0, 40_000, 1)) and not np.array_equal(arrivals, make(50.0, 40_000, 2))
    # The same stream at another rate is the same stream, slower.
    assert np.allclose(make(25.0, 40_000, 1), 2 * arrivals)


def test_the_rate_jumps_or_swings():
    """Variance of counts over their mean: 1 of a Poisson process at any scale, more where the rate changes."""

    def dispersion(arrivals):
        counts = np.histogram(arrivals, int(arrivals[-1]))[0]
        return counts.var() / counts.mean()

    found = {name: dispersion(make(20.0, 40_000)) for name, make in streams.STREAMS.items()}
    assert found["poisson"] == pytest.approx(1, abs=0.15) and found["wave"] > 3 and found["bursts"] > 10
    day = streams.wave(20.0, 40_000)
    quarters = np.histogram(day, 4, (0, 2000))[0] / 10_000
    assert quarters[:2].mean() == pytest.approx(1 - 0.8 * 2 / np.pi, abs=0.05) and quarters[2:].mean() > 1.4


def test_scaling_keeps_the_shape():
    arrivals = streams.check([3.0, 4.0, 6.0, 13.0])
    assert arrivals.tolist() == [0, 1, 3, 10]
    assert streams.scaled(arrivals, 3.0).tolist() == pytest.approx([0, 0.1, 0.3, 1])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("TIMESTAMP,ContextTokens\n2023-11-16 18:17:03.9799600,4808\n2023-11-16 18:17:04.0319600,8\n", 0.052),
        ("\ufefftime\n2024-02-28T23:59:59Z\n2024-02-29T00:00:01.5+00:00\n", 2.5),
        ("user,arrived_at\na,17.5\nb,18\n\n", 0.5),
    ],
)
def test_a_trace_is_read(tmp_path, text, expected):
    (tmp_path / "trace.csv").write_text(text, encoding="utf-8")
    assert streams.read(tmp_path / "trace.csv").tolist() == pytest.approx([0, expected])


@pytest.mark.parametrize(
    "text, message",
    [
        ("tokens,user\n1,2\n", "column of times: .* with the columns tokens, user"),
        ("", "an empty file"),
        ("t\n1\n3\n2.5\n", "request 3 came 0.5 s before the one above it"),
        ("t\n2023-11-16 18:17:04\n2023-11-16 18:17:03\n", "request 2 came 1 s before"),
        ("t\n1\nnever\n", "Times of a trace are seconds, or dates"),
        ("t\n2023-11-16 18:17:04\n\"\"\n", "Times of a trace are seconds, or dates"),
        ("t\n1\nnan\n", "Times of arrival"),
        ("t\n5\n", "two requests or more"),
        ("t\n5\n5\n", "at different times"),
        ("a,t\n1,2\n3\n", "a CSV file in UTF-8"),
    ],
)  # fmt: skip
def test_bad_traces(tmp_path, text, message):
    (tmp_path / "trace.csv").write_text(text)
    with pytest.raises(CatKerasError, match=message):
        streams.read(tmp_path / "trace.csv")


def test_bytes_are_no_trace(tmp_path):
    (tmp_path / "trace.csv").write_bytes(b"t\n\xff\xfe\n")
    with pytest.raises(CatKerasError, match="a CSV file in UTF-8"):
        streams.read(tmp_path / "trace.csv")

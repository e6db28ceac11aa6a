"""When requests arrive: seconds from the start of a stream, (requests,) float64, in order.

Synthetic streams are Poisson processes whose rate is constant, jumps or swings; the same seed gives the same stream.
"""

import csv
from pathlib import Path

import numpy as np

from cat_keras.errors import SEED, CatKerasError, check_number, check_numbers

RATE = "[1e-09, 1e+09]"  # requests a second
REQUESTS = "[1, 100000000]"  # whole
COLUMNS = ("timestamp", "time", "arrival", "arrival_time", "arrived_at", "seconds", "t")
BURST, QUIET = 4.0, 0.25  # rate within and between bursts, as multiples of the mean rate; a fifth of the time is burst


def poisson(rate: float, requests: int, seed: int = 0) -> np.ndarray:
    """Independent arrivals at a constant rate.

    Args:
        rate: requests a second. requests: how many. seed: of the generator.
    """
    rng = _generator(rate, requests, seed)
    return np.cumsum(rng.exponential(1 / rate, requests))


def bursts(rate: float, requests: int, seed: int = 0) -> np.ndarray:
    """A Poisson process whose rate switches at random times between four times the mean rate and a quarter of it.

    A burst lasts as long as 50 requests take at the mean rate, on average, and a fifth of the time is burst: our
    choice. Arguments as in `poisson`.
    """
    rng = _generator(rate, requests, seed)
    long = 50 / rate
    cycles = int(requests / (rate * long * 5)) + 20
    stays = rng.exponential([long, 4 * long], (cycles, 2)).ravel()
    return _varying(rng, rate, requests, np.cumsum(stays), np.tile([BURST, QUIET], cycles))


def wave(rate: float, requests: int, seed: int = 0, swing: float = 0.8, steps: int = 1440) -> np.ndarray:
    """One day: the rate follows a sine from its mean down to the night, up to the day and back, over the whole stream.

    Args:
        rate, requests, seed: as in `poisson`. swing: largest deviation from the mean rate, as a share of it.
        steps: in which the sine is cut; by default minutes of a day.
    """
    rng = _generator(rate, requests, seed)
    check_number("swing", swing, "[0, 1]")
    check_number("steps", steps, "[2, 1000000]", whole=True)
    ends = np.arange(1, steps + 1) / steps
    return _varying(rng, rate, requests, ends * requests / rate, 1 - swing * np.sin(2 * np.pi * (ends - 0.5 / steps)))


STREAMS = {"poisson": poisson, "bursts": bursts, "wave": wave}


def _varying(rng, rate: float, requests: int, ends: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Arrivals of a process of unit rate, moved to where the integral of a piecewise constant rate has grown so far."""
    lengths = np.diff(ends, prepend=0.0)
    grown = np.concatenate([[0.0], np.cumsum(factors * lengths * rate)])
    unit = np.cumsum(rng.exponential(1.0, requests))
    whole, rest = np.divmod(unit, grown[-1])  # the course begins again where it ends
    return whole * ends[-1] + np.interp(rest, grown, np.concatenate([[0.0], ends]))


def _generator(rate, requests, seed) -> np.random.Generator:
    check_number("rate", rate, RATE)
    check_number("requests", requests, REQUESTS, whole=True)
    return np.random.default_rng(check_number("seed", seed, SEED, whole=True))


def scaled(arrivals: np.ndarray, rate: float) -> np.ndarray:
    """The same stream, slower or faster as a whole, so that its mean rate is `rate` requests a second."""
    check_number("rate", rate, RATE)
    return arrivals * (mean_rate(arrivals) / rate)


def mean_rate(arrivals: np.ndarray) -> float:
    """Requests a second between the first and the last."""
    return (len(arrivals) - 1) / float(arrivals[-1] - arrivals[0])


def check(arrivals) -> np.ndarray:
    """The arrivals as an array from 0 on.

    Raises:
        CatKerasError: fewer than two, all at once, or one before the one that it follows.
    """
    times = check_numbers("Times of arrival", arrivals, "[-1e15, 1e15]")
    if times.ndim != 1 or len(times) < 2 or times[-1] == times[0]:
        raise CatKerasError(
            f"A stream has two requests or more, at different times. Received: {times.size} requests. Take a longer one"
        )
    if (back := np.diff(times) < 0).any():
        row = int(np.argmax(back)) + 1
        raise CatKerasError(
            f"Time does not go back in a trace. Received: request {row + 1} came {times[row - 1] - times[row]:g} s "
            "before the one above it. Sort the file by time"
        )
    return times - times[0]


def read(path: Path) -> np.ndarray:
    """The stream of a trace: a CSV file with a column of times, such as `TIMESTAMP`.

    Times are seconds or dates with times of day (ISO 8601, to the nanosecond). Other columns are not read. Traces of
    that form are AzureLLMInferenceTrace_code.csv and _conv.csv of Azure/AzurePublicDataset.

    Raises:
        CatKerasError: no such column, a cell that is no time, or what `check` refuses.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            column = next((i for i, name in enumerate(header) if name.lower() in COLUMNS), None)
            if column is None:
                raise CatKerasError(
                    f"A trace has a column of times: {', '.join(COLUMNS)}. Received: {path} with the columns "
                    f"{', '.join(header) or 'of an empty file'}. Name the column of times so"
                )
            cells = [row[column].strip() for row in rows if row]
    except (UnicodeDecodeError, IndexError, csv.Error) as error:
        raise CatKerasError(f"A trace is a CSV file in UTF-8. Received: {path} ({error})") from None
    return check(_seconds(cells, path))


def _seconds(cells: list[str], path: Path) -> np.ndarray:
    try:
        return np.array(cells, np.float64)
    except ValueError:
        pass
    try:
        # A date is made naive: NumPy knows no zones, and a trace is within one.
        dates = np.array([cell.removesuffix("Z").partition("+")[0] for cell in cells], "datetime64[ns]")
        if np.isnat(dates).any():
            raise ValueError("an empty cell")
    except ValueError as error:
        raise CatKerasError(
            f"Times of a trace are seconds, or dates such as 2023-11-16 18:17:03.98. Received: {path} ({error})"
        ) from None
    return (dates - dates[0]).astype(np.int64) / 1e9 if len(dates) else np.zeros(0)

"""The machines that an estimate may be for: those of a table, this machine's CPU, and what `perf calibrate` wrote."""

import json
import math
import os
import re
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cat_keras.errors import CatKerasError, check_number, unknown_name

TABLE = Path(__file__).parent / "hardware.toml"
MEASURE = "measure"
KINDS = ("CPU", "GPU", "TPU")


@dataclass(frozen=True)
class Hardware:
    """What an estimate assumes of a machine; units and meaning stand at the head of `hardware.toml`.

    `shares` is ((FLOPs of a forward pass per token, share of `flops` that training reaches), …) of models from small to
    large, in the place of one `train` for all; () where it was not measured.
    """

    name: str
    source: str
    kind: str
    devices: int
    flops: float
    train: float
    bandwidth: float
    memory: float
    compile: float
    shares: tuple[tuple[float, float], ...] = ()

    def rate(self, per_token: float) -> float:
        """FLOP/s that all devices together are assumed to reach in training a model.

        Args:
            per_token: FLOPs of its forward pass for a token. Between models that were measured, shares are interpolated
                over its logarithm.
        """
        share = self.train
        if self.shares:
            sizes, shares = np.transpose(self.shares)
            share = float(np.interp(np.log(max(per_token, 1.0)), np.log(sizes), shares))
        return self.devices * self.flops * share


def names() -> list[str]:
    return [*_table(), MEASURE]


def several(name: str) -> tuple[int, Hardware]:
    """How many machines, and which: `"8xh100"` → (8, that of h100); one where no number stands before the name.

    Raises:
        CatKerasError: there is no such row, or as many as nobody has.
    """
    match = re.fullmatch(r"(\d{1,9})x(.+)", name)
    if not match:
        return 1, get(name)
    return check_number("the machines of --hardware", int(match[1]), "[1, 100000]", whole=True), get(match[2])


def get(name: str) -> Hardware:
    """A row of the table; for "measure" this machine's CPU, which is measured in about a second; or a file's machine.

    Raises:
        CatKerasError: there is no such row, no such file, or it is not one of `perf calibrate`.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    table = _table()
    if name == MEASURE:
        return _measure(Hardware(**table["cpu2"]))
    if name not in table:
        raise unknown_name("hardware", name, names())
    return Hardware(**table[name])


def _table() -> dict[str, dict]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def _read(path: Path) -> Hardware:
    """The machine that `perf calibrate` measured.

    Raises:
        CatKerasError: there is no such file, or it is not as `perf calibrate` writes it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        found = Hardware(**content | {"shares": tuple(tuple(map(float, pair)) for pair in content["shares"])})
        numbers = [found.flops, found.train, found.bandwidth, found.memory, found.compile, *np.ravel(found.shares)]
        if found.kind not in KINDS:
            raise ValueError(f"kind={found.kind!r}, which is none of {', '.join(KINDS)}")
        if not (found.devices >= 1 and all(math.isfinite(n) and n > 0 for n in numbers)):
            raise ValueError("a number that is not above 0")
        found.rate(1e6)
    except (OSError, ValueError, TypeError, KeyError) as error:  # broken TOML and UTF-8 are ValueErrors
        raise CatKerasError(
            "A file of a machine is what `python -m benchmarks perf calibrate FILE` wrote. "
            f"Received: {path} ({error}). Measure the machine anew"
        ) from None
    return found


def text(machine: Hardware) -> str:
    """A machine as the TOML that `get` reads; JSON writes strings, numbers and lists as TOML does."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in asdict(machine).items())


def _measure(reference: Hardware) -> Hardware:
    """Measures this machine's CPU. The share that training reaches and the compile time are those of `reference`."""
    return Hardware(
        name=f"this machine's CPU ({os.cpu_count()} cores)",
        kind="CPU",
        source="measured now: float32 matrix product of 2048² and copy of 256 MB in NumPy, best of three",
        devices=1,
        flops=_best_rate(lambda a, b: a @ b, 2048, 2 * 2048**3),
        train=reference.train,
        bandwidth=_best_rate(np.copyto, 8192, 2 * 4 * 8192**2),
        memory=main_memory(),
        compile=reference.compile,
    )


def main_memory() -> float:
    """Bytes of memory of this machine."""
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _best_rate(operation, side: int, work: float) -> float:
    """`work` per second of the fastest of three calls on two square float32 matrices of that side."""
    a, b = np.ones((side, side), np.float32), np.ones((side, side), np.float32)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        operation(a, b)
        seconds.append(time.perf_counter() - started)
    return work / min(seconds)

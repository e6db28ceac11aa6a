"""The tfds source: rows as TensorFlow Datasets yields them, turned into the plain values that a local copy holds.

TensorFlow is imported when a row is asked for, never before.
"""

import difflib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sources.rows import Rows
from cat_keras.errors import CatKerasError, unknown_name


def rows(name: str, version: str, part: str, data: str | Path | None, unread: Sequence[str] = ()) -> Rows:
    """The rows of one split of a TFDS data set, downloaded if they are not there.

    Row i is the i-th row of the prepared files, whichever slice is read.

    Args:
        name, version: e.g. `"glue/sst2"`, `"2.0.0"`. part: a TFDS split. unread: top-level fields to leave out.
        data: where TFDS keeps its data; None for its default.

    Raises:
        CatKerasError: the data set, version or split does not exist, cannot be downloaded, or must be downloaded by
            hand; what to download and where to put it is said.
    """
    builder = prepared(name, version, str(data) if data is not None else None)
    count = _count(builder, part)
    return Rows(count, lambda indices: _read(builder, part, indices, unread), lambda id: f"{name}:{version} {id}")


def builder(name: str, version: str, data: str | None = None):
    """The TFDS builder, which knows features and splits; downloads nothing.

    Raises:
        CatKerasError: the installed TFDS has no such data set, config or version.
    """
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(f"{name}:{version}", data_dir=data)
    except Exception as error:  # TFDS raises ValueError, AssertionError and errors of its own here
        near = _near(name)
        hint = f"; did you mean {', '.join(near)}?" if near else f" ({_first_line(error)})."
        raise CatKerasError(
            f"TensorFlow Datasets {tfds.__version__} has no {name}:{version}{hint} Correct the source of the task, or "
            "install the version of tensorflow-datasets that constraints.txt names"
        ) from error


def _near(name: str) -> list[str]:
    """Names like that of a data set that does not exist, or else of a config that it does not have."""
    import tensorflow_datasets as tfds

    dataset = name.partition("/")[0]
    try:
        configs = [f"{dataset}/{config}" for config in tfds.builder_cls(dataset).builder_configs]
    except tfds.core.registered.DatasetNotFoundError:
        return difflib.get_close_matches(dataset, set(tfds.list_builders(with_community_datasets=False)))
    return [] if name in configs else difflib.get_close_matches(name, configs)


def info_file(described: Mapping[str, str]) -> Path | None:
    """What TFDS noted when it prepared a data set in its default folder; None where it has not. Imports nothing.

    Args:
        described: the `identity` of a source.
    """
    if "tfds" not in described:
        return None
    path = Path.home() / "tensorflow_datasets" / described["tfds"] / described["version"] / "dataset_info.json"
    return path if path.is_file() else None


@functools.lru_cache(maxsize=32)
def prepared(name: str, version: str, data: str | None):
    """The builder of a data set that is on this machine afterwards."""
    import tensorflow_datasets as tfds

    found = builder(name, version, data)
    root = Path(data or tfds.core.constants.DATA_DIR).expanduser()
    manual = root / "downloads" / "manual"
    try:
        config = tfds.download.DownloadConfig(manual_dir=manual if manual.is_dir() else None)
        found.download_and_prepare(download_config=config)
    except Exception as error:  # whatever a download can end in
        raise _not_prepared(found, manual, error) from error
    return found


def _not_prepared(found, manual: Path, error: Exception) -> CatKerasError:
    instructions = found.MANUAL_DOWNLOAD_INSTRUCTIONS
    # Some builders carry instructions that only some of their configs need; those fail for want of a file.
    if instructions and (isinstance(error, AssertionError | OSError) or "manual" in str(error)):
        return CatKerasError(
            f"TensorFlow Datasets cannot download {found.info.full_name} by itself. {' '.join(instructions.split())} "
            f"Put the files into {manual} and run again. TFDS said: {_first_line(error)}"
        )
    return CatKerasError(
        f"TensorFlow Datasets could not download {found.info.full_name} ({_first_line(error)}). It needs the network; "
        "without one, pass --source local --data DIR with data that `python -m benchmarks prepare` wrote elsewhere"
    )


def _count(found, part: str) -> int:
    if part not in found.info.splits:
        raise unknown_name(f"split of {found.info.full_name}:", part, found.info.splits)
    return found.info.splits[part].num_examples


def _read(found, part: str, indices: Sequence[int], unread: Sequence[str]) -> Iterator[tuple[str, dict]]:
    """Reads the span from the first to the last index, so that a slice at the end costs no pass over the rest."""
    wanted = set(indices)
    if not wanted:
        return
    first, last = min(wanted), max(wanted)
    for index, row in zip(range(first, last + 1), _stream(found, part, first, last + 1), strict=False):
        if index in wanted:
            yield f"{part}-{index}", {name: plain(value) for name, value in row.items() if name not in unread}


def _stream(found, part: str, start: int, stop: int) -> Iterable[dict]:
    import tensorflow_datasets as tfds

    dataset = found.as_dataset(
        split=tfds.core.ReadInstruction(part, from_=start, to=stop, unit="abs"),
        shuffle_files=False,
        # One file after the other: by default TFDS interleaves them, and row numbers would depend on the slice.
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
    )
    return tfds.as_numpy(dataset)


def plain(value: Any) -> Any:
    """NumPy and ragged values as JSON yields them: text, numbers, lists and dicts."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if hasattr(value, "to_list"):  # a ragged tensor
        return plain(value.to_list())
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if hasattr(value, "tolist"):
        listed = value.tolist()
        return plain(listed) if isinstance(listed, list | bytes) else listed
    return value


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]

"""The tfds source: rows as TensorFlow Datasets yields them, turned into the plain values that a local copy holds.

TensorFlow is imported only when rows are opened, so importing this module is cheap.
"""

import difflib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sources.rows import Rows
from cat_keras.errors import CatKerasError, unknown_name


def rows(name: str, version: str, part: str, data: str | Path | None, unread: Sequence[str] = ()) -> Rows:
    """The rows of one split of a TFDS data set, which is downloaded if it is not on this machine.

    Row i is the i-th row of the prepared files, whichever slice is read.

    Args:
        name, version: e.g. `"glue/sst2"`, `"2.0.0"`. part: a TFDS split. unread: top-level fields to leave out.
        data: where TFDS keeps its data; None for its default.

    Raises:
        CatKerasError: the data set, version or split does not exist, cannot be downloaded, or must be downloaded by
            hand; then the message says what to download and where to put it.
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
        near = _near_names(name)
        hint = f"; did you mean {', '.join(near)}?" if near else f" ({_first_line(error)})."
        raise CatKerasError(
            f"TensorFlow Datasets {tfds.__version__} has no {name}:{version}{hint} Correct the source of the task, or "
            "install the version of tensorflow-datasets that constraints.txt names"
        ) from error


def _near_names(name: str) -> list[str]:
    """Names like that of a data set that does not exist, or of the config that an existing one does not have."""
    import tensorflow_datasets as tfds

    dataset = name.partition("/")[0]
    try:
        configs = [f"{dataset}/{config}" for config in tfds.builder_cls(dataset).builder_configs]
    except tfds.core.registered.DatasetNotFoundError:
        return difflib.get_close_matches(dataset, set(tfds.list_builders(with_community_datasets=False)))
    return [] if name in configs else difflib.get_close_matches(name, configs)


def info_file(described: Mapping[str, str]) -> Path | None:
    """The JSON file that TFDS wrote when it prepared a data set in its default folder; None where there is none.

    Imports nothing.

    Args:
        described: the `identity` of a source.
    """
    if "tfds" not in described:
        return None
    path = Path.home() / "tensorflow_datasets" / described["tfds"] / described["version"] / "dataset_info.json"
    return path if path.is_file() else None


@functools.lru_cache(maxsize=32)
def prepared(name: str, version: str, data: str | None):
    """The builder of a data set, which it downloads and prepares unless that has been done before.

    Raises:
        CatKerasError: the data set does not exist, or cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    dataset = builder(name, version, data)
    root = Path(data or tfds.core.constants.DATA_DIR).expanduser()
    manual = root / "downloads" / "manual"
    try:
        config = tfds.download.DownloadConfig(manual_dir=manual if manual.is_dir() else None)
        dataset.download_and_prepare(download_config=config)
    except Exception as error:  # a download can fail in any way
        raise _download_error(dataset, manual, error) from error
    return dataset


def _download_error(builder, manual: Path, error: Exception) -> CatKerasError:
    name, instructions = builder.info.full_name, builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    # Some builders carry instructions that only some of their configs need. A config that needs them fails with one of
    # these errors when its files are missing.
    if instructions and (isinstance(error, AssertionError | OSError) or "manual" in str(error)):
        return CatKerasError(
            f"TensorFlow Datasets cannot download {name} by itself. {' '.join(instructions.split())} "
            f"Put the files into {manual} and run again. TFDS said: {_first_line(error)}"
        )
    return CatKerasError(
        f"TensorFlow Datasets could not download {name} ({_first_line(error)}). It needs the network; "
        "without one, pass --source local --data DIR with data that `python -m benchmarks prepare` wrote elsewhere"
    )


def _count(builder, part: str) -> int:
    if part not in builder.info.splits:
        raise unknown_name(f"split of {builder.info.full_name}:", part, builder.info.splits)
    return builder.info.splits[part].num_examples


def _read(builder, part: str, indices: Sequence[int], unread: Sequence[str]) -> Iterator[tuple[str, dict]]:
    """Yields (id, row) at the indices.

    Only the span from the first to the last index is read, so that a slice at the end costs no pass over the rest.
    """
    indices = set(indices)
    if not indices:
        return
    import tensorflow_datasets as tfds

    first, last = min(indices), max(indices)
    dataset = builder.as_dataset(
        split=tfds.core.ReadInstruction(part, from_=first, to=last + 1, unit="abs"),
        shuffle_files=False,
        # One file after the other: by default TFDS interleaves them, and row numbers would depend on the slice.
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
    )
    for index, row in zip(range(first, last + 1), tfds.as_numpy(dataset), strict=False):
        if index in indices:
            yield f"{part}-{index}", {name: plain(value) for name, value in row.items() if name not in unread}


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
        native = value.tolist()
        return plain(native) if isinstance(native, list | bytes) else native
    return value


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]

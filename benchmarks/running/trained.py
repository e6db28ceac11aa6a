"""Where the models of a finished run lie, and one of them in the form that transformers and vLLM load."""

from collections.abc import Iterable
from pathlib import Path

from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import store

ADAPTERS = "adapters.npz"  # what a training with LoRA ends with, in place of a preset
LARGE = ("large tune", "large pretrain")  # the trainings that the large model may come from, the last one first


def preset(manifest: dict, cache: Path, role: str, labels: Iterable[str]) -> str | Path:
    """Where a model of the run lies: what its last training wrote, or the preset that was not trained.

    Of a training with LoRA the cache holds the factors alone; they are merged into a preset of its own then.

    Args:
        manifest: of the run. cache: the store it was built in.
        role: "small" or "large". labels: of the trainings that the model may come from, the last one first.

    Raises:
        CatKerasError: the cache holds it no more, or it is an endpoint.
    """
    cell = next((manifest["cells"][label] for label in labels if label in manifest["cells"]), None)
    if cell is None:
        if manifest["settings"][role].get("endpoint"):
            raise CatKerasError(
                f"The weights of both models of a run are read here. Received: a run whose {role} model is an "
                "endpoint. Take a run of two models that are made here"
            )
        return manifest["settings"][role]["preset"]
    results = store.Store(cache)
    if not results.has("train", cell["key"]):
        raise CatKerasError(
            f"The models of a run lie in its cache; {results.path('train', cell['key'])} is gone. Run the profile again"
        )
    settings = manifest["settings"]
    model = settings.get(role) or settings.get("middle", {}).get(role, {})
    return _preset(results, cell["key"], model.get("preset", ""))


def _preset(results: store.Store, key: str, origin: str) -> str | Path:
    """The preset that a training ended with.

    Args:
        key: of the training. origin: the preset that the first training began with, "" where it was a new model.
    """
    entry = results.path("train", key)
    adapters = entry / ADAPTERS
    if not adapters.exists():
        return entry / "preset"
    base = store.read_manifest(entry / "manifest.json")["base"]
    if base and not results.has("train", base):
        raise CatKerasError(
            "The base of adapters lies in the cache of its run; "
            f"{results.path('train', base)} is gone. Run the profile again"
        )

    def build(folder):
        from cat_keras.modeling import lora, models

        model = models.load(_preset(results, base, origin) if base else origin)
        lora.load(model, adapters)
        models.save(model, folder / "preset")

    return results.get("merged", key, build) / "preset"


def export(folder: Path, cache: Path, model: str, seed: int, to: Path | None, dtype: str | None) -> Path:
    """Writes a model of a run as `ck.models.export` does, with the chat template under which the run asked it.

    Args:
        folder: of the run. cache: the store it was built in.
        model: "large", the method of a small one, or `middle/method` of one between. seed: of all but the large one.
        to: the folder to write; by default one in the run's folder.
        dtype: of the weights; None for the one they are stored in.

    Returns:
        the folder written.

    Raises:
        CatKerasError: the run has no such model, or it is gone; see also `ck.models.export`.
    """
    manifest = store.read_manifest(folder / "manifest.json")
    if not manifest.get("cells"):
        raise CatKerasError(f"Models of a run are found by its manifest; that of {folder} names none. Run it again")
    if model == "large":
        role, labels, name = "large", LARGE, "large"
    else:
        role, _, method = model.rpartition("/")
        role, name = role or "small", f"{model.replace('/', '-')}-seed{seed}"
        labels = (f"{role} {method} seed {seed}",)
        if labels[0] not in manifest["cells"]:
            models = {label.split()[1] for label in manifest["cells"] if label.startswith("small ")}
            models |= {f"{role}/{method}" for role in manifest.get("middle", ()) for method in manifest["methods"]}
            if model in models:
                raise CatKerasError(f"A run has the seeds {manifest.get('seeds')}. Received: --seed {seed}")
            raise unknown_name(f"model of the run {folder.name}", model, {*models, "large"})
    from cat_keras.data.chat import Chat
    from cat_keras.modeling import models

    loaded = models.load(preset(manifest, cache, role, labels))
    chat = manifest["settings"]["data"].get("chat")
    template = Chat(**chat).template_of(models.tokenizer_of(loaded)) if chat else None
    to = to or folder / "export" / name
    models.export(loaded, to, dtype=dtype, chat_template=template)
    return to

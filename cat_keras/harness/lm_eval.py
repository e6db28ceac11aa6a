"""Models and cascades inside lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness).

`of` makes an `LM` of theirs, and `write` writes the folder that `lm_eval --log_samples` would.
"""

from collections.abc import Mapping
from pathlib import Path

from cat_keras.cascades.cascade import Cascade
from cat_keras.errors import CatKerasError
from cat_keras.harness.engines import CascadeEngine, ModelEngine
from cat_keras.modeling import models

INSTALL = 'Install it: pip install "cat-keras[lm-eval]"'


def of(model, *, scoring: str = "", name: str = "", **arguments):
    """An `lm_eval.api.model.LM`, e.g. for `lm_eval.simple_evaluate(model=ck.lm_eval.of(cascade), tasks=[…])`.

    A model scores a continuation as the harness's own models do: context and continuation are tokenized together, no
    end token is scored, and blanks at the end of a context belong to the continuation. With `scoring="cat-keras"` it
    scores options as `ck.Predictor` does, and as a cascade always does: context and option are tokenized apart, as in
    training, the end token is scored with the option, and likelihoods are rounded to the grid on which options are
    compared.

    A cascade decides per question, by the scores of the small model's options or its generated answer. The likelihoods
    of a question are all those of the stage that answered it.

    A context that is too long loses its beginning, alike for all options of a question, and `truncated` counts it. A
    task's `until`, `max_gen_toks`, `do_sample`, `temperature`, `top_k` and `top_p` are followed, and other settings
    refused.

    Args:
        model: a `CausalLM`, the name or folder of a preset, a `ck.Cascade` with thresholds, or the folder of a saved
            one.
        scoring: of a model, "lm-eval" (default) or "cat-keras".
        name: in the results and in their folder; by default that of the model.
        arguments: of `ck.Predictor`, for a model; a cascade has its own. Give `max_length` what the model can read: it
            is 512 tokens unless you do.

    Returns:
        the LM. Its `answers` are a list of `Answered`, one per question in the order of asking: the stage that
        answered, its score, tokens, FLOPs and seconds of all stages. Its `truncated` counts the contexts that were cut.

    Raises:
        CatKerasError: lm_eval is not installed; no thresholds; arguments beside a cascade. While an evaluation runs: a
            task that asks a cascade for what it has not, such as the likelihood of a text.
    """
    LM = _language_model()
    if isinstance(model, str | Path):
        name = name or Path(model).name
        model = Cascade.load(model) if (Path(model) / "cascade.json").is_file() else models.load(model)
    if not isinstance(model, Cascade):
        return LM(ModelEngine(model, scoring or "lm-eval", arguments), name or model.name)
    if arguments or scoring:
        raise CatKerasError(
            "A cascade is evaluated as it was calibrated. Received: "
            f"{', '.join([*arguments, *['scoring'] * bool(scoring)])} beside one. Give arguments to ck.Cascade"
        )
    return LM(CascadeEngine(model), name or "cascade")


def write(results: Mapping, folder: str | Path) -> Path:
    """Writes what `lm_eval --output_path FOLDER --log_samples` does, which `python -m benchmarks import` reads.

    Args:
        results: from `lm_eval.simple_evaluate`. folder: gets a folder with the name of the model.

    Returns:
        the folder of the model.

    Raises:
        CatKerasError: lm_eval is not installed; results without samples; nothing could be written.
    """
    _language_model()
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.utils import sanitize_model_name

    samples = (results or {}).get("samples")
    if not samples:
        raise CatKerasError("Results are written with their samples. Received: none. Evaluate with log_samples=True")
    config = results.get("config") or {}
    tracker = EvaluationTracker(output_path=str(folder))
    facts = tracker.general_config_tracker
    facts.model_source, facts.model_name = "CUSTOM", str(config.get("model_name") or config.get("model"))
    facts.model_name_sanitized = sanitize_model_name(facts.model_name)
    tracker.save_results_aggregated({key: value for key, value in results.items() if key != "samples"}, dict(samples))
    for task, of_task in samples.items():
        tracker.save_results_samples(task, [dict(sample) for sample in of_task])  # which it changes
    place = Path(folder) / facts.model_name_sanitized
    missing = [task for task in samples if not list(place.glob(f"samples_{task}_{tracker.date_id}.jsonl"))]
    if missing or not (place / f"results_{tracker.date_id}.json").is_file():  # the tracker keeps its errors to itself
        raise CatKerasError(f"Results are written to a folder that takes them. Received: {place}, which does not")
    return place


def _language_model() -> type:
    try:
        from cat_keras.harness.language_model import LanguageModel
    except ImportError as error:
        raise CatKerasError(f"lm-evaluation-harness is not installed ({error}). {INSTALL}") from error
    return LanguageModel

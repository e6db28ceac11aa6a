"""Profiles of three and more models: how `[[models]]` is written, and what such a profile must hold to.

The first model is the small one and the last the large one of every other profile; those between have names. So a
profile of two models is one without any between.
"""

import itertools
from collections.abc import Mapping, Sequence

from cat_keras.errors import CatKerasError
from cat_keras.storage.untrusted import plain_name

FIRST, LAST = "small", "large"
BETWEEN = "middle"  # the name of one model between them, and how names of several begin, where none is given
EXAMPLE = 'Name those between as you like, e.g. name = "medium"'


def roles_of(values: dict) -> dict:
    """What the tables `[[models]]` of a profile say, as its `small`, `middle` and `large`; takes them out of `values`.

    Raises:
        CatKerasError: fewer than two models, equal names, names of the first and last that are not theirs, or models
            under both forms.
    """
    models = values.pop("models", None)
    if models is None:
        return {}
    if beside := [role for role in (FIRST, LAST, BETWEEN) if role in values]:
        raise CatKerasError(
            f"A profile lists its models as [[models]] or names them [{FIRST}] and [{LAST}]. Received: [[models]] "
            f"beside [{beside[0]}]. Leave one of them out"
        )
    if not isinstance(models, list) or not all(isinstance(model, dict) for model in models) or len(models) < 2:
        count = len(models) if isinstance(models, list) else 0
        raise CatKerasError(
            f"A cascade has two or more models, one table [[models]] each, the smallest first. Received: {count}. "
            "Add the model that the others defer to as the last one"
        )
    names = _names(models)
    tables = {name: {k: v for k, v in table.items() if k != "name"} for name, table in zip(names, models, strict=True)}
    return {FIRST: tables[FIRST], BETWEEN: {name: tables[name] for name in names[1:-1]}, LAST: tables[LAST]}


def _names(models: Sequence[Mapping]) -> list[str]:
    between = [BETWEEN] if len(models) == 3 else [f"{BETWEEN}-{i}" for i in range(1, len(models) - 1)]
    names = [model.get("name", name) for model, name in zip(models, (FIRST, *between, LAST), strict=True)]
    names = [plain_name("model", name) for name in names]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise CatKerasError(f"Models of a profile have different names. Received: {twice[0]!r} twice. {EXAMPLE}")
    if (names[0], names[-1]) != (FIRST, LAST):
        raise CatKerasError(
            f"The first model of a profile is called {FIRST} and the last {LAST}, as in every run. Received: "
            f"{names[0]!r} and {names[-1]!r}. Leave their names out. {EXAMPLE}"
        )
    return names


def check(profile):
    """Raises CatKerasError where the models between the first and the last of a `Profile` are none that it can train.

    Their sizes are looked at by `check_sizes`, since those of presets are read from their files.
    """
    later = [profile.later, *(variant.later for variant in profile.variants.values() if variant.later)]
    if not profile.middle:
        if later != ["next"]:
            raise CatKerasError(
                "later says which of several larger models a model is trained for. Received: a profile of two models. "
                "Leave it out, or list three as [[models]]"
            )
        return
    for name, model in profile.middle.items():
        if plain_name("model", name) in (FIRST, LAST):
            raise CatKerasError(f"Models of a profile have different names. Received: {name!r} twice. {EXAMPLE}")
        if model.endpoint:
            raise CatKerasError(
                f"Every model of a profile but the last is trained. Received: an endpoint as the model {name}. Give a "
                "preset or a shape"
            )
        if model.tune and model.tune.objective != "xent":
            raise CatKerasError(
                f"Models between the first and the last start from xent. Received: tune.objective="
                f"{model.tune.objective!r} of {name}. Leave it out"
            )


def check_sizes(flops: Mapping[str, float]):
    """Raises CatKerasError where a later model takes no more FLOPs than one before it.

    Args:
        flops: name → FLOPs of a token, in the order in which the models are asked; 0 where they are not known.
    """
    known = [(name, each) for name, each in flops.items() if each]
    for (name, less), (other, more) in itertools.pairwise(known):
        if more <= less:
            raise CatKerasError(
                f"Each model of a cascade is larger than the one before it. Received: {other} with {more:.3g} FLOPs a "
                f"token after {name} with {less:.3g}. List the models from the smallest to the largest"
            )

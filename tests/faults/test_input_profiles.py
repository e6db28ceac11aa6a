"""Profiles: text that is no TOML, keys and values that no profile has, and chains of bases."""

import json
import math

import pytest
from hypothesis import strategies as st

from benchmarks.planning import plan, profile
from cat_keras.errors import CatKerasError
from tests.faults import cases, strange

KEYS = profile.keys()
WHOLE = {
    "methods": ["xent", "cat-xent", "cat-gap"],
    "seeds": [0, 1],
    "variants": {"cat-gap": {"objective": "cat-xent", "arguments": {"mask": "gap"}}},
    "tuned": {"cat-xent": {"epochs": 2.0, "learning_rate": 1e-3}},
    "arguments": {"cat-dist": {"w": 0.25}},
    "data": {"tasks": ["embedded_lookup"], "train": 20, "test": 8, "max_length": 64, "max_new_tokens": 24},
    "large": {"layers": 2, "width": 32, "heads": 2, "feedforward": 32, "tune": {"epochs": 1.0, "learning_rate": 1e-3}},
    "small": {
        "layers": 1,
        "width": 16,
        "heads": 2,
        "feedforward": 16,
        "pretrain": {"epochs": 1.0, "learning_rate": 1e-3},
    },
    "objective": {"epochs": 1.0, "learning_rate": 1e-3, "batch_size": 4},
}
REFUSED = ("base=nano", "seeds=[]", "seeds=[0, 0]", "seeds=[-1]", "seeds=[4294967296]", "methods=[]",
    "methods=['xent', 'xent']", "objective.epochs=inf", "objective.learning_rate=nan", "small.layers=-1",
    "small.width=17", "rule=nothing", "teacher.distribution=x", "name=../up", "name=''", "name=cache",
    "tuned={xent = {epochs = -1}}", "variants={xent = {objective = 'xent'}}",
    "variants={a = {objective = 'xent', arguments = 3}}", "x=[[[[", "=", "", "a=1\nb=2", f"data.train={'9' * 5000}",
    f"x={'[' * 5000}", "data.max_length=99999999999999999999", "small.preset=/nowhere/x", "data.seed=-5",
    "small.dropout=1", "a..b=1", ".=1", "data=3", "teacher.k=0", "seeds=[1979-05-27]", "grid={epochs = []}",
    "grid={epochs = [1, 1]}", "grid={nothing = [1]}", "grid={epochs = [-1]}", "seeds=[true, 1]",
    "variants={'../a' = {objective = 'xent'}}", f"grid={{epochs = {list(range(2000))}}}")  # fmt: skip


def toml(value) -> str:
    """A value as TOML writes it; what TOML cannot say becomes something that it cannot read."""
    if isinstance(value, dict):
        return "{" + ", ".join(pairs(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, int) and abs(value) > 2**64 else json.dumps(value, ensure_ascii=False)


def document(values) -> bytes:
    if not isinstance(values, dict):
        return toml(values).encode(errors="surrogatepass")
    return "\n".join(pairs(values)).encode(errors="surrogatepass")


def pairs(table: dict) -> list[str]:
    return [f"{json.dumps(key, ensure_ascii=False)} = {toml(value)}" for key, value in table.items()]


def check_profile(found: profile.Profile):
    """What a run asks of a profile before it trains anything."""
    assert found.methods and found.seeds
    for method in found.methods:
        assert found.objective_of(method)[0] and found.training_of(method).epochs >= 0
    json.loads(found.model_dump_json())


def write(folder, name, content: bytes):
    (folder / name).write_bytes(content)
    return str(folder / name)


def test_the_profile_that_is_changed_is_one(tmp_path):
    found = profile.read(write(tmp_path, "whole.toml", document(WHOLE)))
    check_profile(found)
    assert found.tuned == WHOLE["tuned"] and found.data.train == 20


@pytest.mark.parametrize("n", cases(80, 1500))
def test_a_file(n, tmp_path):
    """Under a base that is whole, as its own base, or alone."""
    write(tmp_path, "whole.toml", document(WHOLE))
    good = 0

    def check(content, base):
        nonlocal good
        path = write(tmp_path, "mine.toml", (f'base = "{base}"\n' if base else "").encode() + content)
        found = strange.result_or_error(profile.read, path)
        if found is not None:
            good += 1
            check_profile(found)

    contents = st.one_of(
        strange.mutated(WHOLE, 2).map(document), strange.mutated(WHOLE, 2).map(document), st.binary(max_size=30),
        st.sampled_from([b"", b"\xff", b"\0", b"x = " + b"[" * 5000, b"x = " + b"9" * 5000, b'base = ""', b"base = 3",
                         b'base = "../x"', b'base = "a/b"', b'base = "nothing"', b'base = "mine"',
                         b'base = ["whole"]', b'base = "\\u0000"']),
    )  # fmt: skip
    strange.prove(check, n, content=contents, base=st.sampled_from(["", "", "whole", "mine", "nothing"]))
    assert good > n / 30


@pytest.mark.parametrize("n", cases(80, 1000))
def test_changes(n, tmp_path):
    path = write(tmp_path, "whole.toml", document(WHOLE))

    def check(changes, models):
        read = strange.result_or_error(lambda: dict(profile.parse_change(c) for c in changes))
        if read is not None:
            found = strange.result_or_error(profile.read, path, read, models)
            if found is not None:
                check_profile(found)

    keys = st.one_of(
        st.sampled_from(KEYS), st.sampled_from(KEYS), strange.texts, st.sampled_from(KEYS).map(lambda key: key + ".x")
    )
    free = st.tuples(keys, st.one_of(strange.values.map(toml), strange.texts)).map("=".join)
    names = st.one_of(strange.texts, st.sampled_from(["embedded", "nano", "gemma3_270m", "/nowhere"]))
    strange.prove(
        check,
        n,
        changes=st.lists(st.one_of(free, free, st.sampled_from(REFUSED), strange.texts), min_size=1, max_size=2),
        models=st.one_of(st.none(), st.none(), st.dictionaries(st.sampled_from(["small", "large"]), names)),
    )


@pytest.mark.parametrize(
    "name",
    ["", ".toml", "/", "a\0b", "\ud800", "x" * 5000, "x" * 5000 + ".toml", "folder.toml", "nowhere/x.toml", "..toml"],
)
def test_a_name_that_is_none(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(CatKerasError) as caught:
        profile.read(name)
    strange.check_message(str(caught.value))


@pytest.mark.parametrize("change", REFUSED)
def test_what_a_run_would_fail_on_later_is_refused_at_once(change, tmp_path):
    path = write(tmp_path, "whole.toml", document(WHOLE))
    with pytest.raises(CatKerasError) as caught:
        profile.read(path, dict([profile.parse_change(change)]))
    strange.check_message(str(caught.value))


@pytest.mark.parametrize("n", cases(2, 100))
def test_plans(n, tmp_path):
    """A profile that is accepted has a plan in which every cell has a key of its own, or data that cannot be read."""
    path = write(tmp_path, "whole.toml", document(WHOLE))

    def check(change):
        key, value = change
        found = strange.result_or_error(profile.read, path, {key: value})
        made = found and strange.result_or_error(plan.make, found)
        if made:
            assert len({cell.key for cell in made.cells()}) == len(made.cells())

    sizes = st.tuples(st.sampled_from(["data.train", "data.test"]), st.sampled_from(["all", 1, 10**9, 2**40]))
    names = st.tuples(
        st.sampled_from(["data.tasks", "data.skip", "data.test_only"]),
        st.lists(st.sampled_from(["embedded_lookup", "wsc", "x", ""])),
    )
    others = (
        ("data.source", "samples"),
        ("data.evaluate", "validation"),
        ("data.template", 7),
        ("data.template", "mixture"),
    )
    strange.prove(
        check,
        n,
        change=st.one_of(sizes, names, st.sampled_from(others), st.tuples(st.sampled_from(KEYS), strange.values)),
    )

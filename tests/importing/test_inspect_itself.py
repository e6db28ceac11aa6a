"""Logs that inspect_ai itself writes, with its mock model, in both of its forms."""

import pytest

from benchmarks.importing import sources
from benchmarks.importing.tables import Reading

inspect_ai = pytest.importorskip("inspect_ai")
pytestmark = pytest.mark.filterwarnings("ignore")  # of inspect_ai
SAYS = {"small": ["1", "2", "x"], "large": ["1", "2", "3"]}


def answers(name: str) -> list:
    from inspect_ai.model import ModelOutput, ModelUsage

    outputs = [ModelOutput.from_content(name, text) for text in SAYS[name]]
    for output in outputs:  # without it the mock model downloads a tokenizer to count
        output.usage = ModelUsage(input_tokens=3, output_tokens=1, total_tokens=4)
    return outputs


@pytest.mark.parametrize("form", ["eval", "json"])
def test_import_reads_what_it_writes(tmp_path, form):
    from inspect_ai.dataset import Sample
    from inspect_ai.model import get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate

    samples = [Sample(id=f"q{i}", input=f"What is {i} + 1?" + " Think." * 40, target=str(i + 1)) for i in range(3)]
    for name in SAYS:
        model = get_model(f"mockllm/{name}", custom_outputs=answers(name))
        task = inspect_ai.Task(dataset=samples, solver=generate(), scorer=match(), name="sums")
        inspect_ai.eval(task, model=model, log_dir=str(tmp_path), log_format=form, display="none", max_connections=1)
    frame = sources.read([tmp_path], Reading()).frame.set_index(["model", "id"])
    assert [frame.loc["mockllm/small", f"q{i}"]["quality"] for i in range(3)] == [1, 1, 0]
    assert [frame.loc["mockllm/large", f"q{i}"]["quality"] for i in range(3)] == [1, 1, 1]
    assert set(frame["task"]) == {"sums"} and set(frame["n_prompt"]) == {3} and set(frame["n_answer"]) == {1}
    assert frame["prompt"].str.startswith("What is").all() and (frame["seconds"] > 0).all()

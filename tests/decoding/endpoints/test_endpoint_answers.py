"""Answers of an endpoint: what is asked, what is read from the answer, and that nothing is paid for twice."""

import math

import pytest

from cat_keras.data.chat import Chat
from cat_keras.data.records import Example
from cat_keras.decoding.sampling import Sampler
from cat_keras.errors import CatKerasError
from tests.endpoint_server import KEY, logprob, tokens

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PROMPTS = [Example(str(i), f"Say {i}\n", "it is so") for i in range(12)]
CHOICES = [Example(str(i), f"Is it {i}?\n", "yes", "t", ("yes", "surely not")) for i in range(4)]


def test_a_generated_answer_has_text_confidence_usage_and_no_flops(server, endpoint):
    (prediction,) = endpoint().predictor(max_new_tokens=2)(PROMPTS[:1])
    words = tokens("it is")
    assert prediction.text == "it is"
    assert prediction.token_logprobs == pytest.approx(list(map(logprob, words)))
    assert (prediction.n_prompt, prediction.n_answer) == (2, 2)
    assert math.isnan(prediction.flops) and prediction.seconds > 0
    path, body = server.requests[0]
    assert path == "/v1/completions" and server.keys == [f"Bearer {KEY}"]
    assert (body["prompt"], body["max_tokens"], body["temperature"], body["seed"]) == ("Say 0\n", 2, 0.0, 0)


@pytest.mark.parametrize("form", ["old", "chat"])
def test_both_forms_of_log_probabilities_are_read(server, endpoint, form):
    server.form = form
    (prediction,) = endpoint().predictor(("token_margins", "token_logprobs"))(PROMPTS[:1])
    first = math.exp(logprob("it"))
    assert prediction.token_logprobs[0] == pytest.approx(logprob("it"))
    second = (1 - first) / 2
    assert prediction.token_margins[0] == pytest.approx(abs(first - second))


def test_a_chat_is_turns_and_its_classification_names_an_option(server, endpoint):
    server.answer = lambda prompt: "Surely not." if "1?" in prompt else "Yes" if "2?" in prompt else "Who knows"
    predictor = endpoint(chat=Chat(system="Be brief.")).predictor(sampler=Sampler(0.5, top_p=0.9, seed=3))
    assert [p.text for p in predictor(CHOICES[:3])] == ["Who knows", "surely not", "yes"]
    assert predictor.unmatched == 1
    path, body = server.requests[0]
    assert path == "/v1/chat/completions" and body["logprobs"] is True
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Is it 0?\nOPTIONS:\n- yes\n- surely not\n"},
    ]
    assert (body["temperature"], body["top_p"], body["seed"]) == (0.5, 0.9, 3)


def test_the_chat_of_the_cascade_serves_where_the_endpoint_has_none(server, endpoint):
    endpoint().predictor(chat=Chat(system="A"))(PROMPTS[:1])
    endpoint(chat=Chat(system="B")).predictor(chat=Chat(system="A"))(PROMPTS[:1])
    assert [body["messages"][0]["content"] for _, body in server.requests] == ["A", "B"]
    with pytest.raises(CatKerasError, match="its own template"):
        endpoint().predictor(chat=Chat(template="{{ messages[0].content }}"))


@pytest.mark.parametrize(("compare", "length"), [("sum", 1), ("character", len("surely not")), ("token", 2)])
def test_options_are_scored_by_an_echo_of_the_prompt(server, endpoint, compare, length):
    steps = []
    (prediction, *_) = endpoint().predictor(("option_logprobs",), compare=compare)(CHOICES, steps.append)
    assert sum(steps) == len(CHOICES)
    option = [logprob(t) for t in tokens("Is it 0?\nsurely not")[3:]]  # "\nsurely" reaches over the border
    expected = [logprob(tokens("Is it 0?\nyes")[-1]), sum(option)]
    assert prediction.option_logprobs == pytest.approx(expected)
    assert prediction.n_prompt == 4 + 5 and prediction.n_answer == 2  # as billed, once per option
    if compare != "sum":
        assert prediction.option_scores[1] == pytest.approx(expected[1] / length)


def test_a_server_without_echo_is_refused_with_a_remedy(server, endpoint):
    server.echo = False
    with pytest.raises(CatKerasError, match=r'does not know `echo`\. Give options="match"'):
        endpoint().predictor(("option_logprobs",))(CHOICES)
    assert len(server.requests) == 1
    assert len(endpoint(options="match").predictor()(CHOICES)) == len(CHOICES)


def test_stop_texts_end_text_and_tokens(server, endpoint):
    server.answer = lambda prompt: "one two STOP three"
    (prediction,) = endpoint().predictor(stop=["STOP"])(PROMPTS[:1])
    assert prediction.text == "one two" and server.requests[0][1]["stop"] == ["STOP"]
    assert prediction.token_logprobs[:2] == pytest.approx(list(map(logprob, ["one", " two"])))
    assert len(prediction.token_logprobs) < 4


def test_fields_change_and_leave_out_what_is_sent(server, endpoint):
    endpoint(fields={"seed": None, "max_tokens": 1, "user": "me"}).predictor()(PROMPTS[:1])
    body = server.requests[0][1]
    assert "seed" not in body and body["max_tokens"] == 1 and body["user"] == "me"


def test_requests_are_under_way_together_up_to_the_limit_and_answers_in_order(server, endpoint):
    server.answer, server.seconds = (lambda prompt: f"answer {prompt.split()[1]}"), 0.02
    predictions = endpoint(concurrency=3).predictor()(PROMPTS)
    assert [p.text for p in predictions] == [f"answer {i}" for i in range(12)]
    assert 2 <= server.busiest <= 3


@pytest.mark.parametrize(
    ("needs", "changes", "reason"),
    [
        (("token_entropies",), {}, "no server gives that"),
        (("embedding",), {}, "no server gives that"),
        (("token_logprobs",), {"logprobs": False}, "it has logprobs=False"),
        (("option_logprobs",), {"options": "match"}, "matches options and does not score them"),
    ],
)
def test_columns_that_no_server_gives_are_refused_before_anything_is_asked(server, endpoint, needs, changes, reason):
    with pytest.raises(CatKerasError, match=reason):
        endpoint(**changes).predictor(needs)
    assert not server.requests


@pytest.mark.parametrize("arguments", [{"beams": 2}, {"sampler": Sampler(1.0, top_k=5)}, {"compare": "words"},
                                       {"max_new_tokens": -1}, {"stop": "end"}])  # fmt: skip
def test_arguments_that_a_server_does_not_have(endpoint, arguments):
    with pytest.raises(CatKerasError):
        endpoint().predictor(**arguments)


def test_nothing_is_asked_for_that_nobody_needs(server, endpoint):
    (prediction,) = endpoint(logprobs=False).predictor(())(PROMPTS[:1])
    assert prediction.text and prediction.token_logprobs == () and "logprobs" not in server.requests[0][1]


def test_answers_in_a_file_are_not_asked_again(server, endpoint, tmp_path):
    path = tmp_path / "answers.jsonl"
    first = endpoint(answers=path).predictor()(PROMPTS[:6])
    path.write_bytes(path.read_bytes()[:-30])  # a kill in the middle of the last line
    again = endpoint(answers=path, price=(1, 1), concurrency=2).predictor()(PROMPTS)
    assert [p.text for p in again[:6]] == [p.text for p in first]
    assert len(server.requests) == 6 + 7
    assert [p.token_logprobs for p in again[:6]] == [p.token_logprobs for p in first]
    endpoint(answers=path).predictor()(PROMPTS)
    assert len(server.requests) == 13
    endpoint(answers=path).predictor(max_new_tokens=1)(PROMPTS[:1])  # another request
    assert len(server.requests) == 14
    assert "Say" not in path.read_text() and KEY not in path.read_text()


def test_what_was_answered_before_ctrl_c_is_kept(server, endpoint, tmp_path):
    path = tmp_path / "answers.jsonl"

    def progress(count):
        if len(server.requests) >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        endpoint(answers=path, concurrency=2).predictor()(PROMPTS, progress)
    paid = len(server.requests)
    assert 5 <= paid < len(PROMPTS) and len(path.read_text().splitlines()) == paid
    endpoint(answers=path).predictor()(PROMPTS)
    assert len(server.requests) == len(PROMPTS)


def test_the_same_request_is_asked_once(server, endpoint):
    steps = []
    predictions = endpoint().predictor()(PROMPTS[:2] * 3, steps.append)
    assert [p.id for p in predictions] == ["0", "1"] * 3 and len(server.requests) == 2 and sum(steps) == 6


def test_what_was_answered_before_a_failure_is_kept(server, endpoint, tmp_path):
    path = tmp_path / "answers.jsonl"
    server.faults = [None] * 7 + [(400, {}, "no more")]
    with pytest.raises(CatKerasError, match="status 400: no more"):
        endpoint(answers=path, concurrency=2).predictor()(PROMPTS)
    paid = len(server.requests) - 1
    assert paid >= 7
    endpoint(answers=path).predictor()(PROMPTS)
    assert len(server.requests) == len(PROMPTS) + 1

"""A chat in tokens: what each family documents, control words as their ids, and prompts as nothing but text."""

import json

import numpy as np
import pytest

import cat_keras as ck
from cat_keras.data.chat import Chat, turn_of
from cat_keras.data.encoding import join, prompts_within, tokenize
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from tests.decoding import families
from tests.forward import logprobs

SYSTEM, PROMPT = "Be brief.", "The heron?"
# family → the conversation as its documentation has it, with and without the system prompt; and the end of a turn.
DOCUMENTED = {
    families.gemma: (
        "<bos><start_of_turn>user\nBe brief.\n\nThe heron?<end_of_turn>\n<start_of_turn>model\n",
        "<bos><start_of_turn>user\nThe heron?<end_of_turn>\n<start_of_turn>model\n",
        "<end_of_turn>",
    ),
    families.gemma3: (
        "<bos><start_of_turn>user\nBe brief.\n\nThe heron?<end_of_turn>\n<start_of_turn>model\n",
        "<bos><start_of_turn>user\nThe heron?<end_of_turn>\n<start_of_turn>model\n",
        "<end_of_turn>",
    ),
    families.llama3: (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nThe heron?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nThe heron?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
    families.qwen3: (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nThe heron?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\nThe heron?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>",
    ),
}
WORDS = {"<bos>", "<start_of_turn>", "<end_of_turn>", "<|im_start|>", "<|im_end|>", *families.LLAMA}


@pytest.fixture(scope="module", params=DOCUMENTED, ids=lambda family: family.__name__)
def family(request):
    return request.param, request.param()


def spelled(tokenizer, ids) -> str:
    """Token ids as text, control tokens by their words."""
    parts, run = [], []
    for token in [*ids, None]:
        word = None if token is None else tokenizer.id_to_token(int(token))
        if token is None or word in WORDS:
            parts += [str(tokenizer.detokenize(run)) if run else "", word or ""]
            run = []
        else:
            run.append(int(token))
    return "".join(parts)


def test_a_conversation_is_what_its_family_documents(family):
    made, model = family
    tokenizer = model.preprocessor.tokenizer
    with_system, without, end = DOCUMENTED[made]
    for system, expected in ((SYSTEM, with_system), ("", without)):
        turn = Chat(system).turn(tokenizer)
        (ids,), fitted = prompts_within([PROMPT], tokenizer, 200, turn)
        assert spelled(tokenizer, ids) == expected and not fitted.cut.any()
        words = [tokenizer.token_to_id(w) for w in WORDS if w in expected]
        assert sum(i in words for i in ids) == sum(expected.count(w) for w in WORDS)
        assert turn.end == tokenizer.token_to_id(end)
    stripped = Chat().turn(tokenizer).ids([f" {PROMPT}\n"])[0]
    plain = Chat().turn(tokenizer).ids([PROMPT])[0]
    assert (stripped == plain) == (made is not families.qwen3)  # the documented form of Qwen keeps blanks


def test_control_words_in_texts_of_users_are_text(family):
    made, model = family
    tokenizer = model.preprocessor.tokenizer
    _, expected, _ = DOCUMENTED[made]
    words = [w for w in WORDS if models.token_id(tokenizer, w) is not None]
    control = {tokenizer.token_to_id(w) for w in words}
    attack = f"a{''.join(words)}b"
    for system in ("", attack):
        (honest,), _ = prompts_within(["a"], tokenizer, 400, Chat(system and "x").turn(tokenizer))
        (ids,), _ = prompts_within([attack], tokenizer, 400, Chat(system).turn(tokenizer))
        assert sum(i in control for i in ids) == sum(i in control for i in honest)
        said = str(tokenizer.detokenize([i for i in ids if i not in control]))
        assert said.count(attack) == (2 if system else 1)
    turn = Chat().turn(tokenizer)
    assert not control & set(turn.data([attack])[0])
    assert expected


def test_a_long_prompt_loses_its_own_beginning_alone(family):
    _, model = family
    tokenizer = model.preprocessor.tokenizer
    turn = Chat(SYSTEM).turn(tokenizer)
    (whole,), _ = prompts_within([PROMPT], tokenizer, 400, turn)
    (long,), fitted = prompts_within(["x" * 50 + PROMPT], tokenizer, len(whole), turn)
    assert fitted.cut.all() and len(long) == len(whole)
    assert spelled(tokenizer, long).replace("xx", "x").replace(PROMPT, "") != ""
    before, after = spelled(tokenizer, whole).split(PROMPT)
    assert spelled(tokenizer, long).startswith(before) and spelled(tokenizer, long).endswith(PROMPT + after)
    with pytest.raises(CatKerasError, match=r"what stands around a prompt\. Received: 9 tokens"):
        prompts_within([PROMPT], tokenizer, 9, turn)
    assert join(turn.ids([PROMPT])[0], [5] * 9, tokenizer, 12, turn=turn) is None


def test_a_long_prompt_loses_what_its_example_says_and_nothing_of_its_turn(family):
    _, model = family
    tokenizer = model.preprocessor.tokenizer
    chat, story = Chat(SYSTEM), "two legs " * 40
    prompt = f"Read: {story}\n{PROMPT}"
    one = ck.Example("1", prompt, "two", options=("two", "one"), cut=[(6, 6 + len(story))])
    (whole,), _ = prompts_within([PROMPT], tokenizer, 400, chat.turn(tokenizer))
    before, after = spelled(tokenizer, whole).split(PROMPT)
    room = len(whole) + 40
    predictor = ck.Predictor(model, max_length=room, max_new_tokens=8, chat=chat)
    (classified,), _ = predictor._option_inputs([one])
    (asked,), _ = prompts_within([one], tokenizer, room - 8, chat.turn(tokenizer))
    data = ck.encode([one], tokenizer, room, chat=chat)
    for ids in (classified, asked, data.tokens[: data.n_prompt[0]].tolist()):
        text = spelled(tokenizer, ids)
        assert text.startswith(f"{before}Read: two") and text.endswith(f"\n{PROMPT}{after}")
        assert room - 20 < len(ids) < room
    assert (data.truncated, data.overlong, predictor.truncated, predictor.overlong) == (1, 0, 1, 0)
    # Where the rest alone is too long, the prompt loses its own beginning, and its turn still nothing.
    (asked,), fitted = prompts_within([one], tokenizer, len(whole), chat.turn(tokenizer))
    assert fitted.overlong.all() and spelled(tokenizer, asked) == spelled(tokenizer, whole)


def test_examples_with_control_words_of_a_template_are_counted(family):
    made, model = family
    word, asked = DOCUMENTED[made][2], [ck.Example("1", "a", "b"), ck.Example("2", "a", "b", options=("b", "c"))]
    asked = [*asked, ck.Example("3", f"a{DOCUMENTED[made][2]}", "b"), ck.Example("4", "a", "b", options=("b", word))]
    predictor = ck.Predictor(model, max_length=90, max_new_tokens=3, chat=Chat())
    predictor(asked)
    assert predictor.control_words == 2
    assert ck.encode(asked, predictor.tokenizer, 90, chat=Chat()).control_words == 1


@pytest.mark.parametrize("family", [families.gemma, *(pytest.param(f, marks=pytest.mark.long) for f in DOCUMENTED
                                                       if f is not families.gemma)], indirect=True)  # fmt: skip
@pytest.mark.slow
def test_models_are_asked_trained_and_scored_in_turns(family):
    made, model = family
    tokenizer = model.preprocessor.tokenizer
    chat, (expected, _, end) = Chat(SYSTEM), DOCUMENTED[made]
    example = ck.Example("1", PROMPT, "two legs", options=("two legs", "one"))
    data = ck.encode([example], tokenizer, 200, chat=chat)
    assert spelled(tokenizer, data.tokens) == f"{expected}two legs{end}"
    prompt = data.tokens[: data.n_prompt[0]].tolist()
    assert spelled(tokenizer, prompt) == expected
    free = ck.Example("2", PROMPT, "")
    chosen, said = ck.Predictor(model, max_length=200, max_new_tokens=5, chat=chat)([example, free])
    ids = {*models.end_ids(model), tokenizer.token_to_id(end)}
    answer = ck.Generator(model, ids)([prompt], 5)[0]
    np.testing.assert_allclose(said.token_logprobs, answer.logprobs, atol=1e-4)
    assert said.n_prompt == chosen.n_prompt == len(prompt)
    log_p = logprobs(model, data.tokens[:-1])
    labels = data.tokens[data.n_prompt[0] :]
    expected = log_p[data.n_prompt[0] - 1 :][np.arange(len(labels)), labels].sum()
    assert chosen.option_logprobs[0] == pytest.approx(expected, abs=1e-3)
    tokens = ck.SpeculativeCascade(model, model, max_length=200, chat=chat).generate([PROMPT], 5)
    assert tokens[0].text == said.text
    cascade = ck.Cascade([model, model], thresholds=[0.0], max_length=200, max_new_tokens=5, chat=chat)
    assert cascade.generate([PROMPT])[0].text == said.text


# -- where a template comes from -------------------------------------------------------------------------------------

OWN = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %} [answer]"


@pytest.mark.parametrize(
    "files",
    [
        {"chat_template.jinja": OWN},
        *(
            pytest.param(files, marks=pytest.mark.long)
            for files in (
                {"tokenizer_config.json": json.dumps({"chat_template": OWN})},
                {"tokenizer_config.json": json.dumps({"chat_template": [{"name": "tools", "template": "-"},
                                                                        {"name": "default", "template": OWN}]})},
                {"chat_template.jinja": OWN, "tokenizer_config.json": json.dumps({"chat_template": "-"})},
            )
        ),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_the_template_of_a_preset_comes_first_and_goes_along(small, tmp_path, files):
    models.save(small, tmp_path / "preset")
    for name, text in files.items():
        (tmp_path / "preset" / name).write_text(text)
    model = models.load(tmp_path / "preset")
    models.save(model, tmp_path / "again")
    for loaded in (model, models.load(tmp_path / "again")):
        turn = Chat("Be brief.").turn(loaded.preprocessor.tokenizer)
        assert turn.head == () and turn.lead == "[system] Be brief.[user] " and turn.trail == " [answer]"
    cascade = ck.Cascade([model, small], thresholds=[0.0], chat=Chat("x", OWN), max_length=60, max_new_tokens=3)
    cascade.save(tmp_path / "cascade")
    loaded = ck.Cascade.load(tmp_path / "cascade")
    assert loaded.arguments["chat"] == Chat("x", OWN)
    assert loaded.predictors[0].tokenizer.chat_template == OWN
    assert [a.text for a in loaded.generate(["abc"])] == [a.text for a in cascade.generate(["abc"])]


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        (Chat(), "which its tokenizer does not know"),  # a Gemma without the words of an instruct model
        (Chat(template="<|user|>{{ messages[0].content }}"), r"Received: <\|user\|>"),
        (Chat(template="{{ messages | length }}"), "shows it 0 times"),
        (Chat(template="{{ messages[0].content * 2 }}"), "shows it 2 times"),
        (Chat(template="{{ messages[0].content | replace(' ', '_') }}"), "as it is"),
        (Chat(template="{{ raise_exception('no') }}"), "Received: no from"),
        (Chat(template="{{ messages[0].content"), "renders a system prompt"),
        (Chat(template="{{ messages.__class__.__mro__ }}{{ messages[0].content }}"), "renders a system prompt"),
        ("Be brief.", "A chat is a ck.Chat"),
    ],
)
def test_templates_that_do_not_work(small, chat, message):
    with pytest.raises(CatKerasError, match=message):
        ck.Predictor(small, chat=chat)
    with pytest.raises(CatKerasError, match=message):
        ck.encode([ck.Example("1", "a", "b")], small.preprocessor.tokenizer, 40, chat=chat)


def test_a_family_without_a_template_says_how_to_give_one():
    with pytest.raises(CatKerasError, match=r"a GPT2Tokenizer, whose preset brings none.*ck\.Chat\(template=…\)"):
        ck.Predictor(families.gpt2(), max_length=40, max_new_tokens=4, chat=Chat())
    with pytest.raises(CatKerasError, match="The system of a chat is a text"):
        Chat(system=None)


def test_without_a_chat_nothing_changes(tokenizer):
    turn = turn_of(None, tokenizer)
    texts = ["<start_of_turn> a", " b "]
    assert turn.ids(texts) == turn.data(texts) == tokenize(tokenizer, texts)

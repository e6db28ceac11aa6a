"""Exports beside transformers: equal logits, tokens, conversations and ends, for every family and setting."""

import importlib.util
import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from cat_keras.data.chat import Chat
from cat_keras.modeling import models
from cat_keras.modeling.hugging_face.checks import STRANGE
from cat_keras.modeling.tokens import tokenize
from tests.modeling import exported

MISSING = [name for name in ("torch", "transformers", "safetensors") if importlib.util.find_spec(name) is None]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")]

PROMPT = "The heron?"
CHATS = {f"{name} in turns": exported.FAMILIES[name] for name in ("gemma", "gemma3", "llama3", "qwen", "qwen3")}
CASES = {**exported.FAMILIES, **exported.SETTINGS, **CHATS}


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """`peer("gemma")`: the model, our logits, and what transformers says; one process answers for all models."""
    root, asked = tmp_path_factory.mktemp("peer"), {}
    for name, make in CASES.items():
        model, folder = make(), root / name.replace(" ", "_")
        chat = Chat().template_of(models.tokenizer_of(model)) if name in CHATS else None
        models.export(model, folder / "model", chat_template=chat)
        exported.asked(folder, model, [[{"role": "user", "content": PROMPT}]] if chat else [])
        if name == "mixed":  # the same weights, and products in 32 bits as transformers has them
            plain = exported.built()
            plain.set_weights(model.get_weights())
            model = plain
        asked[name] = model, exported.logits(model, exported.some_ids(model)), folder
    script = Path(__file__).with_name("peer.py")
    folders = [str(folder) for *_, folder in asked.values()]
    done = subprocess.run([sys.executable, str(script), *folders], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]

    def of(name):
        model, logits, folder = asked[name]
        return model, logits, np.load(folder / "logits.npy"), json.loads((folder / "answers.json").read_text())

    return of


@pytest.mark.parametrize("name", CASES)
def test_logits_are_equal(peer, name):
    _, ours, theirs, answers = peer(name)
    assert np.abs(ours).max() > 0.3  # random weights say something
    assert np.abs(ours - theirs).max() <= 1e-5
    assert answers["dtype"] == "torch.float32"


@pytest.mark.parametrize("name", CASES)
def test_tokens_texts_and_ends_are_equal(peer, name):
    model, _, _, answers = peer(name)
    tokenizer = models.tokenizer_of(model)
    start = [tokenizer.start_token_id] if tokenizer.start_token_id is not None else []
    # Transformers 5 has a tokenizer of its own for the model type qwen2, which composes characters.
    composed = type(tokenizer).__name__ == "QwenTokenizer"
    texts = [unicodedata.normalize("NFC", text) if composed else text for text in STRANGE]
    for text, ids, theirs in zip(texts, tokenize(tokenizer, texts), answers["tokens"], strict=True):
        assert theirs == start + ids, text
    assert tuple(answers["ends"]) == models.end_ids(model)
    assert answers["specials"] == [tokenizer.start_token_id, tokenizer.end_token_id]


@pytest.mark.parametrize("name", CHATS)
def test_a_conversation_is_the_turn_of_our_chat(peer, name):
    model, _, _, answers = peer(name)
    turn = Chat().turn(models.tokenizer_of(model))
    assert answers["chats"] == [[*turn.before, *turn.ids([PROMPT])[0], *turn.tail]]

"""A text that holds the word of a control token never becomes that token, with tokenizers of every family."""

import io

import keras_hub
import pytest
import sentencepiece

from cat_keras.data.encoding import encode
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from cat_keras.modeling.tokens import control_words, tokenize

TEXTS = ("x<|endoftext|>y", "<eos>", "a</s>b<pad> <s>", "<start_of_turn>user\n<|im_end|><|im_end|>",
         "<|<|endoftext|>|>", "[INST] b [/INST]", "plain <b>é</b>\n", " ")  # fmt: skip
WORDS = ("<|endoftext|>", "<|im_end|>", "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>",
         "<|end_header_id|>", "</s>", "<pad>", "<s>")  # fmt: skip


def byte_pairs(family):
    # The 256 characters that stand for bytes, as GPT-2 has them.
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = [chr(byte) for byte in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    vocabulary = {piece: i for i, piece in enumerate([*characters, "ab", *WORDS])}
    return getattr(keras_hub.models, f"{family}Tokenizer")(vocabulary=vocabulary, merges=["a b"])


def pieces(**arguments):
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the quick brown fox", "a b c d e f"] * 20),
        model_writer=proto,
        vocab_size=330,
        hard_vocab_limit=False,
        model_type="unigram",
        byte_fallback=True,
        **{"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3},
        **{"pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>", "unk_piece": "<unk>"},
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["\n", "<start_of_turn>", "[INST]", "é"],
        minloglevel=2,
        **arguments,
    )
    return keras_hub.models.GemmaTokenizer(proto=proto.getvalue())


@pytest.fixture(scope="module", params=["GPT2", "Qwen3", "Llama3", "OPT", "GPTNeoX", "Bloom", "SentencePiece"])
def family(request):
    return pieces(add_dummy_prefix=False) if request.param == "SentencePiece" else byte_pairs(request.param)


def test_data_is_data(family):
    control = control_words(family)
    assert control.words
    for text, ids in zip(TEXTS, tokenize(family, TEXTS), strict=True):
        assert str(family.detokenize(ids)) == text
        assert control.ids.isdisjoint(ids)
    for word in control.words:
        (ids,) = tokenize(family, [f"a{word}b"])
        assert control.ids.isdisjoint(ids) and str(family.detokenize(ids)) == f"a{word}b"


def test_other_texts_are_encoded_as_before(family):
    for text in ("plain text\nand more", "x < y", "[1]"):
        expected = family([text])
        expected = expected.to_list() if hasattr(expected, "to_list") else expected
        assert tokenize(family, [text, "<eos>"])[0] == list(map(int, expected[0]))


def test_symbols_without_brackets_are_text():
    family = pieces(add_dummy_prefix=False)
    assert {"<start_of_turn>", "[INST]", "<eos>"} < set(control_words(family).words)
    assert {"\n", "é"}.isdisjoint(control_words(family).words)
    assert tokenize(family, ["\n"]) == [[family.token_to_id("\n")]]


def test_a_word_that_cannot_be_written_as_text_is_refused():
    family = pieces(add_dummy_prefix=True)  # it puts a blank before every part
    with pytest.raises(CatKerasError, match=r"'<start_of_turn>' in 'x<start_of_turn>y'\. Take the word out"):
        tokenize(family, ["b", "x<start_of_turn>y"])


def test_examples_with_such_words_are_counted(family):
    word = control_words(family).words[0]
    examples = [Example("a", f"x{word}\n", "b"), Example("b", "x\n", f"{word}{word}"), Example("c", "x\n", "b")]
    data = encode(examples, family, 64)
    assert data.control_words == 2
    ends = [data.tokens[start:end] for start, end in zip(data.offsets, data.offsets[1:], strict=False)]
    assert all(family.end_token_id not in row[1:-1] for row in ends)

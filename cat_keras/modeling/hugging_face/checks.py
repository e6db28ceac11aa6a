"""Whether a tokenizer.json gives the tokens of the tokenizer that it was made of."""

import json

from cat_keras.modeling.hugging_face.tokenizers import Words, refused

# What is likely to be cut differently: blanks, line breaks, digits, contractions, scripts, combined and rare signs.
STRANGE = (
    "", " ", "  ", "\n", "\n\n\n", "\t \n", " a", "a ", "  two  blanks  ", "line\nbreak\r\nand\n\n more \n",
    "x\u00a0y\u3000z", "It's 12345 o'clock, isn't IT'S?", "3.14159e-10 = 1_000_000", "naïve café, cafe\u0301",
    "Straße Œuvre ﬁ ½ Ⅷ", "日本語のテキスト。漢字かな交じり文", "Привет, мир", "مرحبا بالعالم", "שלום עולם",
    "नमस्ते दुनिया", "ไทย", "한국어 문장", "🙂🙃 👩\u200d👩\u200d👧 🇪🇺", "\u200b\u200d\ufeff", "▁low▁line ▁",
    "<0x41><0x0A>", "<unk> <s> </s> [INST] <|x|>", "def f(x):\n\treturn {'a': [x**2, -x]}\n", "a" * 40, "\x00\x01\x7f",
    "ſ İ ǆ", "\U0001d518\U0001d52b \U0010ffff",
)  # fmt: skip

# Transformers 5 puts this in the place of the steps before the model wherever config.json says qwen2.
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def check_as_qwen2(text: str, tokenizer, expected):
    """As `check`, for what transformers 5 makes of the file. It composes characters first, so texts are composed."""
    import unicodedata

    made = json.loads(text)
    steps = [{"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False}]
    bytes_alone = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    made["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*steps, bytes_alone]}
    composed = [unicodedata.normalize("NFC", text) for text in STRANGE]
    _compare(json.dumps(made), tokenizer, expected, composed, Words(()))


def check(text: str, tokenizer, expected, words: Words):
    """Raises CatKerasError unless a tokenizer.json gives the tokens that it should on `STRANGE` texts.

    Args:
        text: of the file.
        tokenizer: of KerasHub.
        expected: a function of texts, which gives the ids of each without special tokens.
        words: as in `tokenizer_json`.
    """
    texts = [*STRANGE] if words.tokens else [*STRANGE, *(f"a {word} {word}b" for word in words.control)]
    if words.tokens:  # then a control word is its token, and not text
        texts = [t for t in texts if not any(word in t for word in words.control)]
    _compare(text, tokenizer, expected, texts, words)


def _compare(text: str, tokenizer, expected, texts: list[str], words: Words):
    import tokenizers

    made = tokenizers.Tokenizer.from_str(text)
    made.encode_special_tokens = not words.tokens
    unigram = isinstance(made.model, tokenizers.models.Unigram)
    for one, ids in zip(texts, expected(texts), strict=True):
        received = made.encode(one, add_special_tokens=False).ids
        # The same pieces in another order are as probable. SentencePiece adds up their scores in 32 bits, so that it
        # takes the one or the other by chance, e.g. in a run of 40 times the same character.
        if received != ids and not (unigram and sorted(received) == sorted(ids)):
            raise refused(tokenizer, f"that makes {ids} of {one!r}, where transformers would make {received}")
    for word in words.control if words.tokens else ():
        if made.encode(word, add_special_tokens=False).ids != [tokenizer.token_to_id(word)]:
            raise refused(tokenizer, f"whose control word {word!r} is not found")

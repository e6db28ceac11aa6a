"""A llama of random weights in a GGUF file, as llama.cpp reads it; its vocabulary is a SentencePiece model."""

from pathlib import Path

import numpy as np

CONTEXT = 256
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


def write(path: Path, proto: bytes, layers=1, width=32, heads=2, feedforward=32, seed=0):
    """Writes the file. proto: of the vocabulary, see `cat_keras.modeling.models.train_tokenizer`."""
    import gguf
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_proto=proto)
    size, kinds = pieces.vocab_size(), gguf.TokenType

    def kind(i):
        special = kinds.CONTROL if pieces.is_control(i) else kinds.UNKNOWN if pieces.is_unknown(i) else None
        return special or (kinds.BYTE if pieces.is_byte(i) else kinds.NORMAL)

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feedforward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([pieces.id_to_piece(i).encode() for i in range(size)])
    writer.add_token_scores([pieces.get_score(i) for i in range(size)])
    writer.add_token_types([kind(i) for i in range(size)])
    writer.add_bos_token_id(pieces.bos_id())
    writer.add_eos_token_id(pieces.eos_id())
    writer.add_unk_token_id(pieces.unk_id())
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    random = np.random.default_rng(seed)
    shapes = {"token_embd": (size, width), "output": (size, width)}
    for i in range(layers):
        shapes |= {f"blk.{i}.attn_{name}": (width, width) for name in ("q", "k", "v", "output")}
        shapes |= {f"blk.{i}.ffn_{name}": (feedforward, width) for name in ("gate", "up")}
        shapes |= {f"blk.{i}.ffn_down": (width, feedforward)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(scale=0.3, size=shape).astype(np.float32))
    for name in ("output_norm", *(f"blk.{i}.{kind}_norm" for i in range(layers) for kind in ("attn", "ffn"))):
        writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

"""What transformers makes of exported folders. A process of its own: PyTorch and TensorFlow crash in one.

Each folder given holds `model`, and what is asked of it: `ids.npy`, and `asked.json` with texts and prompts. It gets
`logits.npy` and `answers.json`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers


def answer(folder: Path):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "model", attn_implementation="eager")
    with torch.no_grad():
        logits = model(torch.tensor(np.load(folder / "ids.npy")).long()).logits.float().numpy()
    np.save(folder / "logits.npy", logits)
    asked = json.loads((folder / "asked.json").read_text())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    tokens = [tokenizer(text)["input_ids"] for text in asked["texts"]]
    bare = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in asked["texts"]]
    ends = model.generation_config.eos_token_id
    answers = {
        "tokens": tokens,
        "texts": [tokenizer.decode(row) for row in bare],
        "chats": [
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
            for messages in asked["chats"]
        ],
        "ends": [ends] if isinstance(ends, int) else ends,
        "dtype": str(model.dtype),
        "specials": [tokenizer.bos_token_id, tokenizer.eos_token_id],
    }
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        answer(Path(name))

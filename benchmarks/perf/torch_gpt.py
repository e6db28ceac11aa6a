"""The peer of the training benchmark: a plain GPT in PyTorch, written as one would by hand; an optional extra."""

import json
import sys

import numpy as np


def serve(path: str, spec: str):
    """Prints the model's size, then takes all steps for every line on standard input and prints the last loss.

    It runs in a process of its own, see `peer.started`.

    Args:
        path: an npz file with ids, labels and weights, (steps, rows, length) each.
        spec: layers, width and heads as JSON, and whether the model is `compiled` and products are in `bfloat16`.
    """
    import torch

    with np.load(path) as z:
        steps = list(zip(z["ids"], z["labels"], z["weights"], strict=True))
    step, size = _trainer(torch, **json.loads(spec))
    print(size, flush=True)
    for _ in sys.stdin:
        print([step(*batch) for batch in steps][-1], flush=True)


def _trainer(torch, layers, width, heads, compiled=False, bfloat16=False, vocabulary=4096, length=128):
    """A function that takes one AdamW step on arrays (ids, labels, weights) and returns the loss; the model's size."""
    functional = torch.nn.functional
    torch.manual_seed(0)
    model = _gpt(torch, vocabulary, length, layers, width, heads)
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step(ids, labels, weights):
        labels = torch.where(torch.from_numpy(weights) > 0, torch.from_numpy(labels).long(), -100)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            logits = forward(torch.from_numpy(ids).long())
        loss = functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step, sum(p.numel() for p in model.parameters())


def _gpt(torch, vocabulary, length, layers, width, heads):
    """Decoder-only, tied embeddings, learned positions, pre-norm."""
    nn, functional = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
            self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

        def forward(self, x):
            batch, n, _ = x.shape
            q, k, v = (p.view(batch, n, heads, -1).transpose(1, 2) for p in self.qkv(self.first(x)).chunk(3, -1))
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).reshape(batch, n, width))
            return x + self.down(functional.gelu(self.up(self.second(x))))

    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm = nn.LayerNorm(width)
            nn.init.normal_(self.tokens.weight, std=width**-0.5)

        def forward(self, ids):
            x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
            for block in self.blocks:
                x = block(x)
            return self.norm(x) @ self.tokens.weight.T

    return Gpt()


if __name__ == "__main__":
    match sys.argv[1:]:
        case [path, spec]:
            serve(path, spec)
        case _:
            sys.exit("Measure with: python -m benchmarks perf training peer")

"""Two models small enough to train in a notebook: a CNN for digits, a GPT for characters.

Both leave out batch normalisation. Statistics over a batch would tie a sample's gradient to its
neighbours, and the result to how many ranks share the batch; layer normalisation looks at one
sample alone. Dropout stays: it draws from the global generator, which the training loop sets from
(seed, step, shard), see `sampler.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.training.data import WINDOW


class CNN(nn.Module):
    """Images [N, 1, 8, 8] to scores [N, 10]; 38 282 parameters."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.fine = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.coarse = nn.Conv2d(16, 32, kernel_size=3, padding=1, stride=2)
        self.hidden = nn.Linear(32 * 4 * 4, 64)
        self.score = nn.Linear(64, 10)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.fine(images))
        x = F.relu(self.coarse(x)).flatten(1)
        x = F.relu(self.hidden(x))
        return self.score(self.dropout(x))


class GPT(nn.Module):
    """Characters [N, T ≤ WINDOW] to scores for the next one [N, T, characters].

    A decoder-only transformer with pre-normalisation, as GPT-2 (Radford et al. 2019), with the
    input embedding used again as the output layer.
    """

    def __init__(
        self, characters: int = 94, width: int = 64, layers: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.character = nn.Embedding(characters, width)
        self.place = nn.Embedding(WINDOW, width)
        self.blocks = nn.Sequential(*(Block(width, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.character.weight, std=0.02)
        nn.init.normal_(self.place.weight, std=0.02)

    def forward(self, numbers: Tensor) -> Tensor:
        places = torch.arange(numbers.shape[-1], device=numbers.device)
        x = self.blocks(self.character(numbers) + self.place(places))
        return self.norm(x) @ self.character.weight.T


class Block(nn.Module):
    """Attention among the characters so far, then a layer for each on its own: [N, T, width]."""

    def __init__(self, width: int, dropout: float, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.before_layer = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.before_attention(x)))
        return x + self.dropout(self.narrow(F.gelu(self.widen(self.before_layer(x)))))

    def attention(self, x: Tensor) -> Tensor:
        samples, length, width = x.shape
        split = self.query_key_value(x).view(samples, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [N, heads, T, width / heads]
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.attention_out(mixed.transpose(1, 2).reshape(samples, length, width))


def build(name: str, seed: int = 0) -> nn.Module:
    """The model `name` ("cnn" or "gpt") on the CPU, with the weights that `seed` gives it.

    The caller's random state is left as it was.
    """
    kinds = {"cnn": CNN, "gpt": GPT}
    if name not in kinds:
        raise ValueError(f"there is no model {name!r}: use one of {', '.join(kinds)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kinds[name]()

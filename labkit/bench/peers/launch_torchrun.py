"""One rank under torchrun: torch is imported, the rank's own work could begin."""

import os

import torch

from labkit.bench.peers.say import live, say

if __name__ == "__main__":
    live()
    torch.ones(1).sum()
    say("ready", rank=int(os.environ["RANK"]), launch=0)

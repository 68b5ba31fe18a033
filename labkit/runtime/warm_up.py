"""What a spare does before it waits: one tiny training step, so that nobody waits for it later.

The first step of a process takes many times as long as the next ones, for libraries make ready what
they need when it is first asked for: the kernels of a convolution, autograd's thread, the
optimizer, pickling a state, Gloo's device.
"""

from __future__ import annotations

import io
import os


def warm_up() -> None:
    """On the CPU: which GPU a spare will have is known when it is seated. CUDA reads it once, when
    first asked for anything; so where there are GPUs nothing is trained, for autograd asks how many
    (torch, Engine::start_device_threads), and an optimizer whether one records."""
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # asks the driver, not CUDA
    import torch
    from torch import distributed as dist
    from torch import nn

    from labkit.collectives.process_group import form

    torch.set_num_threads(1)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    scores = model(torch.zeros(8, 1, 8, 8))
    loss = nn.functional.cross_entropy(scores, torch.zeros(8, dtype=torch.int64))
    if not torch.cuda.is_available():
        loss.backward()
        optimizer.step()

    file = io.BytesIO()
    torch.save((model.state_dict(), optimizer.state_dict()), file)
    torch.load(io.BytesIO(file.getvalue()), weights_only=True)

    _, group = form("gloo", "cpu", dist.HashStore(), 0, 1, (0,))
    group.allreduce([torch.zeros(4)]).wait()

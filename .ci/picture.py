"""Draws the README's picture by running its code: `.venv/bin/python .ci/picture.py`."""

from pathlib import Path

from labkit import Cluster
from labkit.training import train

PICTURE = Path(__file__).resolve().parents[1] / "notebooks" / "pictures" / "timeline.png"


def main() -> None:
    with Cluster(4) as cluster:
        cluster.run(train, steps=2).wait()  # what a process does for the first time takes longer
        run = cluster.run(train, steps=40, batch=512, on_loss="continue")
        run.wait_step(15)
        cluster.kill(2)
        run.wait()
        PICTURE.write_bytes(run.timeline()._repr_png_())


if __name__ == "__main__":
    main()

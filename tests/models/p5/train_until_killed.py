"""Trains with a checkpoint until it is killed, and says so after every epoch.

python train_until_killed.py DATA CHECKPOINT EPOCHS
"""

import sys
from pathlib import Path

from toy_p5_model import CPU, tiny

from models.p5.data import load_data
from models.p5.train import train

data, checkpoint, epochs = sys.argv[1:]
train(
    load_data(Path(data)),
    tiny(dropout=0.2, epochs=int(epochs), patience=int(epochs)),
    checkpoint=Path(checkpoint),
    device=CPU,
    progress=lambda *told: print(told[0], flush=True),
)

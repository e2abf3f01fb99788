"""Trains with a checkpoint until it is killed, and says so after every epoch.

python train_until_killed.py DATA CHECKPOINT KIND EPOCHS
"""

import sys
from pathlib import Path

from toy_sequences import CPU, tiny

from models.encoders.data import load_data
from models.encoders.train import train

data, checkpoint, kind, epochs = sys.argv[1:]
config = tiny(kind, dropout=0.3, gaps=True, epochs=int(epochs), patience=int(epochs))
train(
    load_data(Path(data)),
    config,
    checkpoint=Path(checkpoint),
    device=CPU,
    progress=lambda *told: print(told[0], flush=True),
)

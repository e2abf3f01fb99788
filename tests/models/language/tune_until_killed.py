"""Tunes with a checkpoint until it is killed, and says so after every round.

python tune_until_killed.py FOLDER CHECKPOINT
"""

import sys
from pathlib import Path

from toy_pairs import PAIRS

from models.device import Device
from models.language.tuning import TuningConfig, tune

folder, checkpoint = sys.argv[1:]
tune(
    Path(folder),
    lambda _: PAIRS,
    TuningConfig(rank=4, rounds=6, tokens=256, learning_rate=0.02),
    validation=PAIRS,
    checkpoint=Path(checkpoint),
    device=Device("cpu", bf16=False),
    progress=lambda *told: print(told[0], flush=True),
)

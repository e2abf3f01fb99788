"""Prints the requirements of pyproject.toml with some extras, so that an image has them in a layer of their own.

python requirements.py cpu,scale
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = [line for extra in sys.argv[1].split(",") for line in project["optional-dependencies"][extra]]
sys.stdout.write("\n".join([*project["dependencies"], *extras]) + "\n")

"""How fast each stage is on this machine, against what the machine can do: `python -m unlearning bench`."""

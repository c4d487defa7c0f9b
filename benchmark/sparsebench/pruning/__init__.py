"""How sparse checkpoints are made: one file per method, one interface, one training loop."""

"""How sparse checkpoints are made: one file a method, one interface, one training loop."""

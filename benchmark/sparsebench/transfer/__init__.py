"""How a backbone is transferred: features, probes, finetuning, grid search, scores."""

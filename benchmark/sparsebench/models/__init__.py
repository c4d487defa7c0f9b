"""A checkpoint to a backbone: architectures, formats, masks, loading, description, FLOPs."""

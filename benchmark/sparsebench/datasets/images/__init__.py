"""Image files to network inputs: decoding, resizing, transforms, batches, and the crops that are kept."""

"""The checkpoint formats, found here; others come from entry points and from files."""

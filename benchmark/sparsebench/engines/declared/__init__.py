"""The engines: one module each, found here; others come from entry points and from files."""

"""The package's C code: what is compiled, and how."""

"""The version of sparsebench, for whoever needs it without the package's other names."""

__version__ = "0.1.0"

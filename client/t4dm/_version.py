"""The one version number of the project."""

__version__ = "0.1.0"

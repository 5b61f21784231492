"""From a language-model checkpoint and a device to a package that runs there and can be trusted."""

__version__ = "0.1.0"

"""Fine-tune a language model with GaLore in the browser, then see how it decodes."""

__version__ = "0.1.0"

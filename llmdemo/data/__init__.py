"""An upload becomes a checked, tokenised data set. Knows no torch, no transformers and no page."""

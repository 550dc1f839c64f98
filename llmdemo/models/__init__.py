"""What may be loaded, from where, and the only from_pretrained calls of the app."""

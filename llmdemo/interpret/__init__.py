"""What goes on inside a model: the answer layer by layer, what a token is owed to, what training changed.

Knows no page and no strategy. Imports torch; import the modules that are needed.
"""

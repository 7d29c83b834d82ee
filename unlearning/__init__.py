"""Make a language model forget a text, and measure what happened.

The way of the data: document, blocks, translation, generic labels, fine-tuning, unlearned model, probing.
"""

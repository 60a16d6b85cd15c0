"""A trial in the training loop of a framework. Imported by the user's code only, and imports the framework.

lightning      HpoCallback for Lightning's Trainer
transformers   HpoCallback for Hugging Face's Trainer
files          a checkpoint that a framework writes, as a part of hpo's
"""

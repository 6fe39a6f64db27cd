"""Checkpoints of real models' architecture with random weights: same files, shapes, dtypes and byte counts.

Speed, memory and file sizes depend on these alone; what an exact lm_head saves depends on the geometry of the
embedding and of the hidden states too, so both are drawn with the structure measured on a trained model.
"""

"""Quantisation-aware training of a small BitNetForCausalLM on the smart-home corpus."""

"""Measurements of edgebit and what they need: models of real size, competitors, processors not at hand."""

"""Other engines on the same weights: one module per engine, one registry, one child process per measurement.

``registry`` is the table of engines. A module that it names (``edgebit_bundle``, ``llama_cpp``, …) imports
nothing of edgebit's compiler, so that a child process can run it with any interpreter that has the engine.
"""

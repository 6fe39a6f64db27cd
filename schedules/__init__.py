"""Hand-written tensor intrinsics and schedules: knows TVM and nothing of models (installed as edgebit.schedules)."""

"""The oracle: every operation in plain NumPy, as short as its definition. Slow on purpose."""

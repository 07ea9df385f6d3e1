"""The machine a run works on: devices, memory, processes, and their provenance."""

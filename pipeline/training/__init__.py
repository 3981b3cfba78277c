"""The replica engine: many independent trainings as one batched program. Imports torch and NumPy alone."""

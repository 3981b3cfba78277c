"""A small deep-learning framework from scratch (report 004, part 2): passes written by hand, no autograd.

Everything runs for R replicas at once: vectors are (R, B, D), parameters have a leading replica axis, and there is one
loss for each replica.
"""

from pipeline.tasks.disc.mini.loss import MSE
from pipeline.tasks.disc.mini.modules import Linear, Module, Parameter, ReLU, Sequential, Tanh
from pipeline.tasks.disc.mini.sgd import SGD

__all__ = ["MSE", "SGD", "Linear", "Module", "Parameter", "ReLU", "Sequential", "Tanh"]

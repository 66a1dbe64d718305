"""The numerics behind the measurements; these modules import torch."""

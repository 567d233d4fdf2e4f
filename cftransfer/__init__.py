"""Does a counterfactual found on one model still hold on another? See README.md."""

__version__ = "0.1.0"

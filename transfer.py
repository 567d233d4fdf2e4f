"""Search counterfactuals on base models, and measure how many of them transfer to reference models.

python transfer.py                          COMPAS, 5 base and 10 reference models of 4 layers
python transfer.py -m model.layers=2,4,8    the same at three depths, and a report
"""

from cftransfer.commands.transfer import command

if __name__ == "__main__":
    command()

"""Put one population in the store: to look at a model, or to warm the store before a parallel sweep.

python train.py                                        one base model
python train.py population.pool=reference population.size=10
"""

from cftransfer.commands.train import command

if __name__ == "__main__":
    command()

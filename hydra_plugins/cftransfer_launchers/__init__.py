"""The launchers of hydra/launcher=local and hydra/launcher=slurm, for Hydra to find.

Hydra takes launchers from below the package `hydra_plugins` alone, and knows them by their base class. It imports every
module there at every start, also for --help, except those with an underscore. The modules here are therefore small, and
import `cftransfer.commands`, which does the work, when a sweep begins.
"""

from importlib.util import find_spec

from hydra_plugins.cftransfer_launchers._local import LocalLauncher

__all__ = ["LocalLauncher"]

if find_spec("hydra_plugins.hydra_submitit_launcher"):  # the extra `slurm`
    from hydra_plugins.cftransfer_launchers._slurm import SlurmLauncher

    __all__ += ["SlurmLauncher"]

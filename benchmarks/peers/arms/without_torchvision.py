"""torchdistill imports torchvision, whose build in the registry does not load beside a CPU build of torch.

Nothing of it is used here: it serves torchdistill's lists of known data sets and vision models. Where the real one does
not load, an empty package stands in for it, of which every name is an empty class.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

NAMES = ("torchvision", "torchvision.datasets", "torchvision.models")
INNER = ("torchvision.models.densenet", "torchvision.models.resnet")


class _Empty(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__module__": self.__name__})


def stand_in() -> bool:
    """Let `import torchvision` succeed; True if the real one does not load and an empty one stands in."""
    try:
        importlib.import_module("torchvision")
        return False
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    for name in (*NAMES, *INNER):
        module = sys.modules[name] = _Empty(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    return True

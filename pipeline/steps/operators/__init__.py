"""The operators, one a file; importing this package registers all of them.

An operator's parameters, its declarations and its filter belong here; what several operators share belongs
to the package above.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

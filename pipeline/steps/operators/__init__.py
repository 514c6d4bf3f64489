"""The operators, one a file; importing this package defines, and so registers, all of them.

Here belongs what an operator says and does with a block. What several of them share, and what applies
them to images, belongs to the package above.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

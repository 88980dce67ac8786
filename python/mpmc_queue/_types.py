"""Names for annotations only, in a module of their own so that `import mpmc_queue` does not load `typing`."""

from datetime import datetime
from typing import Literal, TypeAlias

Start: TypeAlias = Literal["earliest", "latest"] | int | datetime
"""Where a consumer begins: an end, a seq, or the first message created at or after a time."""

"""Names for annotations alone. Apart, so that `import mpmc_queue` need not load `typing`."""

from datetime import datetime
from typing import Literal, TypeAlias

Start: TypeAlias = Literal["earliest", "latest"] | int | datetime
"""Where a consumer begins: an end, a seq, or the first message created at or after a time."""

"""What Python imports when it starts: the swap, in the processes of the suite."""

import os

if "PLOTLY_SUITE_BACKEND" in os.environ:
    from plotly_suite import swap

    swap.install()

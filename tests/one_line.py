"""What an error must look like."""

import re


def one_line(*parts: object) -> str:
    """A pattern for `pytest.raises`: a single line that holds the parts in this order."""
    return r"\A[^\n]*" + r"[^\n]*".join(re.escape(str(part)) for part in parts) + r"[^\n]*\Z"

"""The strategy of one process."""


def auto() -> str:
    """Lightning's own choice: one process, or DDP where the trainer has several devices."""
    return "auto"

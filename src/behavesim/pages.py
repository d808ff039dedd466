"""Pages as one file: pictures inside, nothing fetched."""

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def page(package: str, template: str, **values: Any) -> str:
    """A template that lies in `package`, filled with values. What tweets say is text in it, and never markup."""
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def png_address(content: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"

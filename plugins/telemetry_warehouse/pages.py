"""HTML for people: the digest's page and those inside Airflow. What comes from the warehouse is always escaped."""

from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from telemetry_warehouse import wording
from telemetry_warehouse.errors import printable

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: object) -> str:
    """The text of a file of templates/ with these values. Raises jinja2.UndefinedError for one that is missing."""
    return _environment().get_template(template).render(values)


def style() -> str:
    """The style sheet of every page."""
    return (TEMPLATES / "style.css").read_text()


def _shown(value: object) -> object:
    # What is marked as safe, such as the style sheet, is ours.
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["words"] = wording
    environment.globals["style"] = style
    return environment

"""Every page has a context beside its view, whose fields are exactly the variables of its template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.routing import APIRoute
from jinja2 import meta, nodes
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict

from service.api import app
from service.api.finetune_runs.pages import FinetuneRunPage
from service.api.finetune_runs.schemas import FinetuneOut
from service.api.names import NamedOut
from service.api.web.entries import entries
from service.api.web.render import TEMPLATES, ErrorPage, templates

SHARED = {"layout.html", "live.html", "macros.html"}  # no page of their own


def page_routes() -> list[APIRoute]:
    """Every registered view: what the application answers and its OpenAPI document does not list."""
    modules: tuple[Any, ...] = (*app._OPERATIONS, *app._PAGES)
    routes = [route for module in modules for route in module.router.routes]
    return [route for route in routes if isinstance(route, APIRoute) and not route.include_in_schema]


def contexts_of(route: APIRoute) -> list[Any]:
    """The context classes that a view names."""
    view: Any = route.endpoint
    named = (view.__globals__.get(name) for name in view.__code__.co_names)
    return [value for value in named if is_dataclass(value) and hasattr(value, "template")]


def pages() -> list[Any]:
    return [ErrorPage, *(context for route in page_routes() for context in contexts_of(route))]


def with_parents(name: str) -> Iterator[str]:
    """A template and all that it extends, includes or imports."""
    yield name
    source = (TEMPLATES / name).read_text()
    for other in meta.find_referenced_templates(templates.env.parse(source)):
        assert other is not None, f"{name} names another template by a variable; write its name"
        yield from with_parents(other)


def variables(name: str) -> set[str]:
    """What the template and those it refers to need from the context."""
    parsed = [templates.env.parse((TEMPLATES / part).read_text()) for part in set(with_parents(name))]
    needed = set[str]().union(*(meta.find_undeclared_variables(tree) - at_the_top(tree) for tree in parsed))
    return needed - set(templates.env.globals)


def at_the_top(tree: nodes.Template) -> set[str]:
    """Names that a template itself gives to its blocks, which Jinja calls undeclared there."""
    macros = {macro.name for macro in tree.find_all(nodes.Macro)}
    return macros | {imported.target for imported in tree.find_all(nodes.Import)}


@pytest.mark.parametrize("route", page_routes(), ids=lambda route: route.path)
def test_every_view_has_one_context_beside_it(route: APIRoute) -> None:
    found = contexts_of(route)
    assert len(found) == 1, f"{route.name} names {found}; give its page one frozen dataclass with a template"
    assert found[0].__module__ == route.endpoint.__module__
    assert found[0].__dataclass_params__.frozen


def test_every_template_belongs_to_one_page_in_a_folder_of_its_domain() -> None:
    there = {str(path.relative_to(TEMPLATES)) for path in TEMPLATES.rglob("*.html")}
    of_pages = [page.template for page in pages()]
    assert len(of_pages) == len(set(of_pages)) > 1
    assert there - SHARED == set(of_pages)
    for page in pages():
        domain = "system" if page is ErrorPage else page.__module__.split(".")[-2]
        assert page.template.split("/")[0] == domain


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.__name__)
def test_a_context_has_what_its_template_uses_and_nothing_else(page: Any) -> None:
    given, used = {field.name for field in fields(page)}, variables(page.template)
    assert used - given == set(), (
        "the template uses what the context lacks; add these fields, or set these names outside of an if"
    )
    assert given - used == set(), "the template uses none of these fields; remove them"


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")

    images: int = 42
    crop: int | None = None


@dataclass(frozen=True)
class Data:
    images: int = 42
    crop: int | None = None


RUN: dict[str, Any] = {
    "id": "ft_1",
    "dataset": NamedOut(id="ds_1", name="discs"),
    "checkpoint": NamedOut(id="ck_1", name="vessels"),
    "ranking": None,
    "method": "ac_norm",
    "protocol": {},
    "state": "done",
    "reason": None,
    "network": "/v1/finetune-runs/ft_1/network",
    "created_at": datetime(2026, 1, 31, tzinfo=UTC),
}
CONTENTS = [{"images": 42, "crop": None}, Model(), Data()]


@pytest.mark.parametrize("content", CONTENTS, ids=["mapping", "model", "dataclass"])
def test_a_mapping_a_model_and_a_dataclass_are_listed_alike(content: object) -> None:
    assert entries(content) == [("images", 42), ("crop", None)]
    show: Any = templates.env.get_template("macros.html").module
    for macro, same in ((show.details, content), (show.shown, content), (show.shown, [content, content])):
        expected = CONTENTS[0] if same is content else [CONTENTS[0]] * 2
        assert macro(same) == macro(expected)
        assert isinstance(macro(same), Markup)
    assert '<dt>crop</dt><dd><span class="quiet">–</span></dd>' in show.details(content)


@dataclass(frozen=True)
class Result:
    metrics: dict[str, dict[str, float]]
    best_epoch: int
    data: Data


def test_a_page_shows_typed_contents_as_it_shows_mappings() -> None:
    values = {"metrics": {"test": {"dice": 0.8125}}, "best_epoch": 7}
    contents = [{**values, "data": CONTENTS[0]}, Result(**values, data=Data())]
    run = FinetuneOut.model_construct(**RUN)
    page = templates.env.get_template(FinetuneRunPage.template)
    shown = [page.render(run=run.model_copy(update={"result": content}), running=False) for content in contents]
    assert shown[0] == shown[1]
    assert "0.8125" in shown[0]
    assert "<h3>best_epoch</h3>7" in shown[0]


def test_further_entries_of_a_model_are_listed_and_nothing_has_none() -> None:
    assert entries(Model.model_validate({"extra": "kept"}))[-1] == ("extra", "kept")
    assert entries(None) == []
    with pytest.raises(TypeError, match="give a mapping, a dataclass or a model"):
        entries(3)

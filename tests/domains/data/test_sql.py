"""What the SQL parser sees and refuses; the rows are in tests/cases/data."""

import contextlib
import time
from hashlib import sha256

import msgspec
import pytest

from sidecar.domains.data import DOMAIN
from sidecar.terms.call import Call, Identity, Party
from sidecar.terms.decision import BundleStamp, Decision, RuleSpoke
from sidecar.terms.domain import CatalogueFile, Needs
from sidecar.terms.errors import ParseError, PolicyError
from sidecar.terms.reasons import reason
from sidecar.terms.request import Request
from sidecar.terms.words import CallId, PolicyName, PolicyVersion, RuleId
from tests.domains import conform
from tests.tables import rows


def catalogue_of(spec):
    return DOMAIN.catalogue([CatalogueFile("catalog/sql.yaml", spec, {}, {})])


def call_of(text, **payload):
    return Call(
        id=CallId("0"),
        time="2026-01-01T00:00:00.000000Z",
        listener="cli",
        upstream=payload.pop("upstream", "default"),
        protocol="sql",
        payload={"dialect": "postgres", "text": text, **payload},
        identity=Identity(Party("user", "alice")),
    )


def parse(text, spec, **payload):
    return conform.parse(DOMAIN, call_of(text, **payload), catalogue_of(spec), spec)


def line(target):
    action, resource = target.action, target.resource
    return f"{action.name} {action.cls} {resource.key} [{' '.join(resource.labels)}]"


TABLE = {"protocol": "sql", "schemas": {"public": {"tables": {"t": {"columns": ["a", "b"]}}}}}


@pytest.mark.parametrize(
    "row",
    [
        *rows("data/targets.yaml"),
        *rows("data/definitions.yaml"),
        *rows("data/relatives.yaml"),
        *rows("data/composites.yaml"),
    ],
)
def test_targets(row):
    parsed = parse(row.given, row.table["catalog"])

    assert [line(target) for target in parsed.targets] == row.want
    assert parsed.parse.status == "complete"


@pytest.mark.parametrize(
    "row",
    [
        *rows("data/hostile.yaml"),
        *rows("data/definitions_refused.yaml"),
        *rows("data/composites_refused.yaml"),
    ],
)
def test_refused(row):
    with pytest.raises(ParseError) as refused:
        parse(row.given, row.table["catalog"])

    assert refused.value.reason == row.want


@pytest.mark.parametrize("row", rows("data/session.yaml"))
def test_session_statements_touch_the_database_alone(row):
    verbs = row.want if isinstance(row.want, list) else [row.want]

    parsed = parse(row.given, row.table["catalog"], upstream="erp")

    done = dict.fromkeys(verb for verb in verbs if not verb.endswith("_all"))
    assert [line(target) for target in parsed.targets] == [
        f"{verb} connect database:erp []" for verb in done
    ]
    assert parsed.native["verbs"] == verbs


@pytest.mark.parametrize("row", rows("data/names.yaml"))
def test_names_of_the_session(row):
    def read():
        return parse(row.given, row.table["catalog"], session=row.table["session"])

    if isinstance(row.want, str):
        with pytest.raises(ParseError) as refused:
            read()
        assert refused.value.reason == row.want
        return

    parsed = read()
    told = [
        f"{name['does']} {name['name']}" + (f": {name['text']}" if name["text"] else "")
        for name in parsed.native["names"]
    ]
    assert told == row.want["names"]
    assert parsed.native["kind"] == row.want["kind"]
    assert [line(target) for target in parsed.targets] == row.want["targets"]


@pytest.mark.parametrize("row", rows("data/drift.yaml"))
def test_drift(row):
    if row.want is None:
        parse(row.given, row.table["catalog"], drift=row.table["drift"])
        return

    with pytest.raises(ParseError) as refused:
        parse(row.given, row.table["catalog"], drift=row.table["drift"])
    assert refused.value.reason == row.want
    # Without the knowledge of it nothing is refused for it, on the same catalogue.
    if row.want == "catalogue.drift":
        parse(row.given, row.table["catalog"])


@pytest.mark.parametrize("drift", [["public.t"], {"public.t": "salary"}, {"public.t": [1]}])
def test_drift_of_another_shape_is_refused(drift):
    with pytest.raises(ParseError) as refused:
        parse("SELECT 1", TABLE, drift=drift)

    assert refused.value.reason == "parse.envelope"


TYPES = {
    **TABLE,
    "types": {
        "public.grade": {"kind": "domain"},
        "hr.grade": {"kind": "enum"},
        "hr.x": {"kind": "base"},
        "hr.json": {"kind": "domain", "base": "text", "cast": "unread"},
    },
}


@pytest.mark.parametrize(
    ("text", "search_path"),
    [
        ("SELECT a::grade FROM t", ["public", "hr"]),
        ("SELECT CAST(a AS public.grade) FROM t", ["public"]),
        ("SELECT a::hr.x FROM t", ["public"]),
        ("SELECT a::x FROM t", ["hr", "public"]),
        ("SELECT a::grade FROM t", ["public"]),
        ("SELECT a::hr.grade(1) FROM t", ["public"]),
        # Where PostgreSQL's own schema stands behind another in the path its types do as well.
        ("SELECT a::json FROM t", ["hr", "pg_catalog"]),
        ("SELECT json 'x'", ["hr", "pg_catalog"]),
        ("SELECT x.a FROM json_to_record('{}') AS x(a json)", ["hr", "pg_catalog"]),
    ],
)
def test_a_type_whose_cast_may_run_code_is_refused(text, search_path):
    with pytest.raises(ParseError) as refused:
        parse(text, TYPES, search_path=search_path)

    assert refused.value.reason.startswith("parse.un")


def test_a_row_of_a_table_that_is_another_one_by_now_still_hides_others():
    spec = {
        "protocol": "sql",
        "schemas": {"hr": {"tables": {"pt": {"columns": {"x": {"type": "integer"}}}}}},
        "types": {"public.pt": {"kind": "enum"}},
    }
    text = "SELECT NULL::pt"

    parse(text, spec, search_path=["hr", "public"])
    with pytest.raises(ParseError):
        parse(text, spec, search_path=["hr", "public"], drift={"hr.pt": ["y"]})


def test_a_function_that_nobody_has_declared_is_refused():
    spec = {**TABLE, "functions": {"public.lower": {"forms": []}, "public.upper": {"reads": []}}}

    for text in ("SELECT public.lower(a) FROM t", "SELECT lower(a) FROM t"):
        with pytest.raises(ParseError) as refused:
            parse(text, spec)
        assert refused.value.reason == "parse.unknown_function"
    assert parse("SELECT upper(a) FROM t", spec).native["functions"] == ["public.upper", "upper"]


@pytest.mark.parametrize("name", ["pg_try_advisory_lock", "pg_catalog.pg_try_advisory_lock"])
@pytest.mark.parametrize("search_path", [["public"], [], ["public", "pg_catalog"]])
def test_a_function_of_postgresql_s_own_may_be_declared(name, search_path):
    spec = {**TABLE, "functions": {"pg_catalog.pg_try_advisory_lock": {"reads": []}}}

    parsed = parse(f"SELECT {name}($1)", spec, search_path=search_path)

    assert parsed.native["functions"] == ["pg_catalog.pg_try_advisory_lock"]
    with pytest.raises(ParseError):
        parse(f"SELECT {name}($1)", TABLE, search_path=search_path)


def test_the_same_name_is_read_anew_in_each_session():
    first = parse("EXECUTE n", TABLE, session={"prepared": {"n": "SELECT a FROM t"}})
    second = parse("EXECUTE n", TABLE, session={"prepared": {"n": "SELECT b FROM t"}})

    assert first.native["reads"] == {"public.t": ["a"]}
    assert second.native["reads"] == {"public.t": ["b"]}
    with pytest.raises(ParseError):
        parse("EXECUTE n", TABLE)


@pytest.mark.parametrize(
    "session", [[], "p", {"names": {}}, {"prepared": []}, {"cursors": {"c": 1}}]
)
def test_session_of_another_shape_is_refused(session):
    with pytest.raises(ParseError) as refused:
        parse("SELECT 1", TABLE, session=session)

    assert refused.value.reason == "parse.envelope"


@pytest.mark.parametrize("row", rows("data/conditions.yaml"))
def test_conditions(row):
    catalogue = catalogue_of(row.table["catalog"])

    problems = DOMAIN.check({"type": "filter_rows", **row.given}, catalogue)

    assert bool(problems) == bool(row.want)
    assert all(row.want in problem for problem in problems)


@pytest.mark.parametrize(
    ("values", "is_right"),
    [
        ({"with": "last4"}, True),
        ({"with": "expression", "expression": "left(iban, 2)"}, True),
        ({"with": "expression"}, False),
        ({"with": "hash", "expression": "left(iban, 2)"}, False),
    ],
)
def test_a_mask_has_an_expression_where_it_is_one(values, is_right):
    problems = DOMAIN.check({"type": "mask", **values}, catalogue_of(TABLE))

    assert (problems == []) is is_right


def test_the_native_block_holds_what_rules_read_and_no_text():
    text = "SELECT a, lower(b) FROM t WHERE b = 'hunter2' LIMIT 3"

    parsed = parse(text, TABLE)

    assert parsed.native == {
        "dialect": "postgres",
        "kind": "select",
        "verbs": ["select"],
        "statements": 1,
        "reads": {"public.t": ["a", "b"]},
        "writes": {},
        "functions": ["lower"],
        "usage": {"public.t.a": ["project"], "public.t.b": ["predicate", "project"]},
        "names": [],
        "limit": 3,
        "text_sha256": sha256(text.encode()).hexdigest(),
        "complete": True,
    }


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("COPY t TO STDOUT", "copy"),
        ("COPY (SELECT a FROM t) TO STDOUT", "copy_query"),
        ("DECLARE c CURSOR FOR SELECT a FROM t", "declare"),
        ("PREPARE p AS SELECT a FROM t", "prepare"),
        ("LISTEN c", "listen"),
        ("EXECUTE p", "execute"),
        ("FETCH c", "fetch"),
        ("MOVE c", "move"),
    ],
)
def test_a_listener_is_refused_what_it_does_not_carry(text, kind):
    session = {"prepared": {"p": "SELECT a FROM t"}, "cursors": {"c": "SELECT a FROM t"}}
    call = call_of(text, session=session)
    enforced = msgspec.structs.replace(call, is_enforced=True)
    carried = msgspec.structs.replace(
        call, payload={**call.payload, "carries": [kind]}, is_enforced=True
    )

    with pytest.raises(ParseError) as refused:
        DOMAIN.parse(enforced, catalogue_of(TABLE), Needs())

    assert refused.value.reason == "parse.unsupported"
    assert DOMAIN.parse(carried, catalogue_of(TABLE), Needs()).native["kind"] == kind
    assert parse(text, TABLE, session=session).native["kind"] == kind


@pytest.mark.parametrize("row", rows("data/usage.yaml"))
def test_usage(row):
    usage = parse(row.given, row.table["catalog"]).native["usage"]

    assert {column: " ".join(uses) for column, uses in usage.items()} == row.want


def chained(step, count=60):
    """Return queries of WITH, each made of the one before it."""
    steps = (step.format(at=at, before=at - 1) for at in range(1, count))
    return f"WITH c0 AS (SELECT a, b FROM t), {', '.join(steps)} SELECT a FROM c{count - 1}"


@pytest.mark.parametrize(
    "step",
    [
        "c{at} AS (SELECT * FROM c{before} UNION ALL SELECT * FROM c{before})",
        "c{at} AS (SELECT a || b AS a, b || a AS b FROM c{before})",
        "c{at} AS (SELECT x.* FROM c{before} x JOIN c{before} y USING (a, b))",
        "c{at} AS (SELECT q.* FROM c{before} c, LATERAL (VALUES (c.a, c.b)) q(a, b))",
        "c{at} AS (SELECT c.a, f AS b FROM c{before} c, unnest(ARRAY[c.a, c.b]) f)",
    ],
)
def test_a_value_comes_from_a_column_once_however_many_ways_it_went(step):
    began_s = time.process_time()
    usage = parse(chained(step), TABLE).native["usage"]

    assert usage.keys() == {"public.t.a", "public.t.b"}
    assert time.process_time() - began_s < 3


def nested(depth):
    """Return a recursive query whose second branch holds one, and so on."""
    inner = nested(depth - 1) if depth else "SELECT a, a FROM t"
    name = f"r{depth}"
    return (
        f"SELECT * FROM (WITH RECURSIVE {name}(p, q) AS (SELECT a, b FROM t UNION ALL "
        f"(SELECT n.q, {name}.p FROM ({inner}) n(p, q), {name})) SELECT * FROM {name}) x{depth}"
    )


def test_recursive_queries_inside_one_another_are_bounded():
    assert parse(nested(1), TABLE).native["usage"]
    with pytest.raises(ParseError) as refused:
        parse(nested(8), TABLE)

    assert refused.value.reason == "parse.too_large"


def test_values_of_many_columns_that_go_many_ways_are_bounded():
    tables = {"w": {"columns": [f"c{at}" for at in range(1000)]}}
    spread = "SELECT " + ", ".join(["w"] * 400) + " FROM w"

    with pytest.raises(ParseError) as refused:
        parse(spread, {"protocol": "sql", "schemas": {"public": {"tables": tables}}})

    assert refused.value.reason == "parse.too_large"


def test_a_text_of_a_known_shape_is_read_as_itself():
    first = parse("SELECT a FROM t WHERE b = 'x1' AND a > 1", TABLE)
    second = parse("select a\nfrom t where b = 'x2' /* c */ and a > 22", TABLE)

    assert second.targets == first.targets
    assert second.native["text_sha256"] != first.native["text_sha256"]
    assert parse("SELECT a FROM t LIMIT 4", TABLE).native["limit"] == 4
    assert parse("SELECT a FROM t LIMIT 5", TABLE).native["limit"] == 5


@pytest.mark.parametrize(
    "tail",
    [
        "FETCH FIRST 1 ROW WITH TIES",
        "FETCH FIRST ROW WITH TIES",
        f"LIMIT {2**53}",
        f"LIMIT {2**64}",
        "LIMIT " + "9" * 5000,
        "FETCH FIRST " + "9" * 5000 + " ROWS ONLY",
    ],
)
def test_what_is_no_limit_of_rows_is_none(tail):
    assert "limit" not in parse(f"SELECT a FROM t ORDER BY a {tail}", TABLE).native


@pytest.mark.parametrize("clause", ["ORDER BY", "GROUP BY"])
def test_a_place_of_more_digits_than_a_number_has_is_none(clause):
    parsed = parse(f"SELECT a FROM t {clause} " + "9" * 5000, TABLE)

    assert parsed.native["usage"] == {"public.t.a": ["project"]}


WIDE = {
    "protocol": "sql",
    "schemas": {
        "public": {
            "tables": {"t": {"columns": ["a"]}, "ww": {"columns": [f"k{at}" for at in range(1600)]}}
        }
    },
    "types": {
        "public.w": {"kind": "composite", "fields": {f"k{at}": "public.w" for at in range(1600)}}
    },
}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 FROM json_to_record('{}') AS x(" + ",".join(["a int"] * 5300) + ")",
        "SELECT " + ",".join(["*"] * 1600) + " FROM t ORDER BY " + ",".join(["a"] * 14000),
        "SELECT k1 FROM " + ",".join(f"ww t{at}" for at in range(60)) + ", (SELECT 1 z) q"
        " ORDER BY " + ",".join(["z"] * 12000),
        "WITH q AS (" + "MERGE INTO ww USING " * 1500 + ") SELECT 1",
        "MERGE INTO " * 3000 + "t USING ww ON true WHEN MATCHED THEN DELETE",
        "SELECT " + ",".join(["tableoid::regclass"] * 1600) + " FROM t",
        "SELECT row(" + "(NULL::w).*, " * 2400 + "1)",
        "SELECT " + ",".join(["(t.a[1]).k1, a[1].k1"] * 1400) + " FROM t",
    ],
)
def test_long_lists_take_no_time_by_their_square(text):
    began_s = time.thread_time()

    with contextlib.suppress(ParseError):
        parse(text, WIDE)

    # By the square it is three seconds and up to thirty; this takes half of one.
    assert time.thread_time() - began_s < 2.5
    with pytest.raises(ParseError):
        # The same tokens as the first, and no SQL to PostgreSQL's grammar.
        parse("SELECT a FROM t WHERE b = 'x' 'y' AND a > 1", TABLE)


def test_parameters_are_offered_where_given():
    parsed = parse("SELECT a FROM t WHERE b = $1", TABLE, params=["x"])

    assert parsed.native["params"] == ["x"]
    assert "params" not in parse("SELECT a FROM t WHERE b = $1", TABLE).native


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"extra": 1}, "parse.envelope"),
        ({"text": 1}, "parse.envelope"),
        ({"dialect": None}, "parse.envelope"),
        ({"dialect": "mysql"}, "parse.unsupported"),
        ({"params": "x"}, "parse.envelope"),
        ({"carries": "copy"}, "parse.envelope"),
        ({"catalog": []}, "parse.envelope"),
        ({"catalog": {"t": ["a"]}}, "parse.envelope"),
        ({"catalog": {"public.t": "a"}}, "parse.envelope"),
        ({"search_path": "public"}, "parse.envelope"),
        ({"text": "x" * 40_000}, "parse.too_large"),
        ({"text": "select " + "1+" * 9_000 + "1"}, None),
        ({"text": "select " + "a and " * 5_000 + "a from t"}, None),
        ({"text": "select 1" + " union select 1" * 2_000}, "parse.too_large"),
        ({"text": "/*" * 15_000}, "parse.too_large"),
    ],
)
@pytest.mark.timeout(30)
def test_calls_of_another_shape_are_refused(payload, code):
    call = call_of(payload.pop("text", "select 1"), **payload)

    try:
        DOMAIN.parse(call, catalogue_of(TABLE), Needs())
        told = None
    except ParseError as error:
        told = error.reason

    # A long chain is either read or refused as too large; it never ends the process.
    assert told in ({code} if code else {None, "parse.too_large"})


def test_a_refusal_never_holds_a_literal():
    for text in ("SELECT 'hunter2' FROM nowhere", "SELECT 'hunter2' 'x'", "SELECT (((( 'hunter2'"):
        with pytest.raises(ParseError) as refused:
            parse(text, TABLE)
        assert "hunter2" not in str(refused.value)


def test_the_catalogue_of_a_dry_run_replaces_the_bundles_and_keeps_its_labels():
    spec = {
        "protocol": "sql",
        "schemas": {"public": {"tables": {"t": {"columns": {"a": {"labels": ["pii"]}}}}}},
    }

    parsed = parse("SELECT a, c FROM t", spec, catalog={"public.t": ["a", "c"]})

    assert [line(target) for target in parsed.targets] == [
        "select read table:public.t []",
        "select read column:public.t.a [pii]",
        "select read column:public.t.c []",
    ]
    with pytest.raises(ParseError):
        parse("SELECT a FROM t", spec, catalog={})


def test_an_unqualified_name_is_looked_for_along_the_search_path():
    catalog = {"one.t": ["a"], "two.t": ["a"], "two.pg_class": ["a"]}

    first = parse(
        "SELECT a FROM t", {"protocol": "sql"}, catalog=catalog, search_path=["two", "one"]
    )

    assert first.targets[0].resource.key == "table:two.t"
    with pytest.raises(ParseError) as refused:
        # PostgreSQL looks into pg_catalog before all else.
        parse("SELECT a FROM pg_class", {"protocol": "sql"}, catalog=catalog, search_path=["two"])
    assert refused.value.reason == "parse.unknown_table"


def test_each_upstream_has_its_own_tables():
    files = [
        CatalogueFile("a.yaml", {**TABLE, "upstream": "erp"}, {}, {}),
        CatalogueFile("b.yaml", {"protocol": "sql"}, {}, {}),
    ]
    catalogue = DOMAIN.catalogue(files)

    parsed = DOMAIN.parse(call_of("SELECT a FROM t", upstream="erp"), catalogue, Needs())

    assert parsed.targets[0].resource.upstream == "erp"
    with pytest.raises(ParseError):
        DOMAIN.parse(call_of("SELECT a FROM t", upstream="crm"), catalogue, Needs())


def test_another_catalogue_is_another_analysis():
    text = "SELECT a FROM t WHERE b = 41"
    tables = {"t": {"columns": ["a", "b"]}}
    labelled = {"protocol": "sql", "schemas": {"public": {"labels": ["pii"], "tables": tables}}}

    assert parse(text, TABLE).targets[0].resource.labels == ()
    assert parse(text, labelled).targets[0].resource.labels == ("pii",)


def test_another_order_of_columns_is_another_analysis():
    text = "INSERT INTO t VALUES (40404)"

    one = parse(text, {"protocol": "sql"}, catalog={"public.t": ["a", "b"]})
    other = parse(text, {"protocol": "sql"}, catalog={"public.t": ["b", "a"]})

    assert [t.resource.key for t in one.targets[1:]] == ["column:public.t.a"]
    assert [t.resource.key for t in other.targets[1:]] == ["column:public.t.b"]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"tables": {}}, "unknown field `tables`"),
        ({"dialect": "mysql"}, "`dialect` is `postgres`"),
        ({"schemas": {"hr": {"tables": {"t": {"column": []}}}}}, "unknown field `column`"),
        (
            {"schemas": {"hr": {"tables": {"t": {"columns": {"a": {"label": []}}}}}}},
            "unknown field `label`",
        ),
        ({"schemas": {"hr": {"labels": "x"}}}, "a list of names"),
        ({"schemas": []}, "a mapping is expected"),
        ({"functions": {"f": {}}}, "`schema.name`"),
        ({"functions": {"a.f": {"reads": ["x"]}}}, "`schema.table` or"),
        ({"functions": {"a.f": {"reads": ["no.table"]}}}, "is not listed"),
        ({"schemas": {"hr": {"tables": {"v": {"reads": ["no.table"]}}}}}, "is not listed"),
        ({"schemas": {"hr": {"tables": {"v": {"inherits": ["no.parent"]}}}}}, "is not listed"),
        (
            {"schemas": {"hr": {"tables": {"v": {"columns": {"a": {"shows": ["hr.w.a"]}}}}}}},
            "is not listed",
        ),
    ],
)
def test_a_catalogue_with_a_mistake_is_refused(spec, told):
    with pytest.raises(PolicyError) as refused:
        catalogue_of({"protocol": "sql", **spec})

    assert any(told in problem for problem in refused.value.problems)


def test_a_table_listed_twice_is_refused():
    with pytest.raises(PolicyError):
        DOMAIN.catalogue([CatalogueFile(name, TABLE, {}, {}) for name in ("a.yaml", "b.yaml")])


def decision_of(**fields):
    return Decision(
        id=CallId("018f"),
        outcome=fields.pop("outcome", "deny"),
        reason=reason("rule"),
        policy=BundleStamp("demo", PolicyVersion("1.2"), "sha256:0"),
        **fields,
    )


def request_of(call, parsed):
    return Request(
        call.id, call.time, "cli", "default", "data", "call", "sql", call.identity.subject, (),
        parsed.targets, {}, {"sql": parsed.native}, parsed.parse,
    )  # fmt: skip


def test_a_statement_without_obligations_goes_on_as_it_came():
    call, catalogue = call_of("SELECT a FROM t"), catalogue_of(TABLE)
    request = request_of(call, DOMAIN.parse(call, catalogue, Needs()))

    payload = DOMAIN.rewrite(call, request, decision_of(outcome="allow"), catalogue)

    assert payload is call.payload
    assert DOMAIN.result(request, decision_of(outcome="allow")) is None


def test_a_denial_names_the_rule_the_version_and_the_decision_and_no_literal():
    rule = RuleSpoke(RuleId("closed"), PolicyName("sensitive"), "deny", "org", "sha256:1")
    decision = decision_of(rules=(rule,), message="compensation data is closed")

    refusal = DOMAIN.refuse(call_of("SELECT 'hunter2'"), decision)

    assert refusal.status == 0
    assert refusal.body["code"] == "42501"
    assert "compensation data is closed" in refusal.body["message"]
    assert all(word in refusal.body["detail"] for word in ("018f", "sensitive/closed", "demo 1.2"))
    assert "hunter2" not in str(refusal.body)

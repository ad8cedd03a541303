"""The functions that may be called unasked: they read their arguments and nothing else.

An allow-list, because a deny-list is got round by the next function that runs SQL from a text
(`query_to_xml`, `ts_rewrite`, `ts_stat`, `dblink`), reads a file, a setting or a statistic. It
holds PostgreSQL's immutable functions (`builtins`) and some stable and volatile ones that were
looked at one by one. All live in `pg_catalog`. Functions of the
organisation's own are declared in the catalogue with the tables that they read and write.
"""

from typing import Final

from sidecar.domains.data.catalogue.types import BUILT_IN
from sidecar.domains.data.parse.text.builtins import IMMUTABLE
from sidecar.domains.data.parse.text.lookups import COLUMNS as LOOKUP_COLUMNS
from sidecar.domains.data.parse.text.lookups import FUNCTIONS, READS, SEQUENCES

# Of names with forms of several kinds, those whose stable forms depend on the time zone alone.
_ALSO_STABLE: Final = """
age date date_add date_part date_subtract date_trunc extract generate_series length quote_literal
quote_nullable timetz timezone to_timestamp
"""

# Stable or volatile, and looked at: they depend on the clock, the time zone, chance, the session's
# own numbers or who asks; of enumerations and text search on what the owner of the schema declared.
# `set_config` passes for what SET may change (`second`).
_REVIEWED: Final = """
aclexplode array_sample array_shuffle array_to_json array_to_string clock_timestamp concat concat_ws
convert convert_from convert_to
current_database current_schema current_schemas current_user enum_first enum_last enum_range format
gen_random_uuid get_current_ts_config getdatabaseencoding pg_advisory_unlock_all
pg_char_to_encoding pg_encoding_to_char pg_options_to_table set_config json_agg json_agg_strict
json_build_array json_build_object
json_object_agg json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict
json_to_record json_to_recordset json_to_tsvector jsonb_to_record jsonb_to_recordset
jsonb_agg jsonb_agg_strict jsonb_build_array jsonb_build_object jsonb_path_exists_tz
jsonb_path_match_tz jsonb_path_query_array_tz jsonb_path_query_first_tz jsonb_path_query_tz
jsonb_to_tsvector make_timestamptz merge_action now pg_backend_pid pg_client_encoding
pg_collation_for pg_column_compression pg_column_size pg_current_snapshot pg_current_xact_id
pg_current_xact_id_if_assigned pg_get_keywords pg_is_in_recovery pg_trigger_depth pg_typeof
phraseto_tsquery plainto_tsquery random random_normal row_to_json
session_user setseed statement_timestamp
timeofday timestamptz to_char to_date to_json to_jsonb to_number to_tsquery to_tsvector ts_parse
transaction_timestamp ts_headline txid_current txid_current_if_assigned txid_current_snapshot
ts_token_type uuidv4 uuidv7 version websearch_to_tsquery xml_is_well_formed
"""

# The grammar's own constructs that look like calls, spelt as `canonical` hands them on.
_CONSTRUCTS: Final = """
array coalesce greatest grouping json json_array json_arrayagg json_exists json_objectagg json_query
json_scalar json_serialize json_table json_value xmlparse xmlpi xmlroot xmlserialize xmltable
 least nullif row trim xmlattributes xmlconcat xmlelement
xmlforest current_catalog current_date current_role current_time current_timestamp localtime
localtimestamp user
"""

CONSTRUCTS: Final = frozenset(_CONSTRUCTS.split())
_LOOKED_AT: Final = CONSTRUCTS | set((_ALSO_STABLE + _REVIEWED).split())
ALLOWED: Final = IMMUTABLE | SEQUENCES | FUNCTIONS.keys() | READS.keys() | _LOOKED_AT

# They make values of the fields of a row that they are given: what that runs hangs on its type.
FILLING: Final = frozenset(("json_populate_record", "jsonb_populate_record",
    "json_populate_recordset", "jsonb_populate_recordset"))  # fmt: skip

# Functions of PostgreSQL's outside of `pg_catalog` that read their arguments alone, and the fields
# of what they return.
OF_SCHEMAS: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("information_schema", "_pg_expandarray"): frozenset(("n", "x")),
}

# What a call in FROM yields where it is not one column of the call's own name.
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    **LOOKUP_COLUMNS,
    "aclexplode": ("grantor", "grantee", "privilege_type", "is_grantable"),
    "json_each": ("key", "value"),
    "ts_parse": ("tokid", "token"),
    "ts_token_type": ("tokid", "alias", "description"),
    "pg_get_keywords": ("word", "catcode", "barelabel", "catdesc", "baredesc"),
    "pg_options_to_table": ("option_name", "option_value"),
    "json_each_text": ("key", "value"),
    "jsonb_each": ("key", "value"),
    "jsonb_each_text": ("key", "value"),
    "json_array_elements": ("value",),
    "json_array_elements_text": ("value",),
    "jsonb_array_elements": ("value",),
    "jsonb_array_elements_text": ("value",),
}

# Those of which one call gives a row for each of many values: what it is given decides how many.
_MANY: Final = """
_pg_expandarray aclexplode generate_series generate_subscripts json_array_elements
json_array_elements_text
json_each json_each_text json_object_keys json_to_recordset jsonb_array_elements
jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys jsonb_path_query
jsonb_path_query_tz jsonb_to_recordset pg_available_extensions pg_get_keywords pg_options_to_table
pg_partition_ancestors pg_partition_tree pg_snapshot_xip regexp_matches regexp_split_to_table
string_to_table ts_parse ts_token_type txid_snapshot_xip unnest
"""
MANY: Final = frozenset(_MANY.split())

# They yield what their arguments hold: of a composite, its columns in place of one of their own.
_VARIED: Final = """
any_value_transfn coalesce enum_larger enum_smaller greatest least lower nullif record_larger
record_smaller unnest upper
"""
VARIED: Final = frozenset(_VARIED.split())

# Constructs whose column PostgreSQL's parser names otherwise, or did in some version.
OTHERWISE_NAMED: Final = frozenset(
    ("extract", "trim", "user", "xmlelement", "xmlforest", "xmlconcat", "xmlattributes")
)

# Those that are another one's name alone have no name for their arrays.
_SPELT: Final = """
bigint boolean character dec decimal double float int integer national nchar real smallint
"""
_ELEMENTS: Final = BUILT_IN - frozenset(_SPELT.split())
# PostgreSQL's own names of their arrays.
ARRAYS: Final = frozenset(f"_{name}" for name in _ELEMENTS)
TYPES: Final = BUILT_IN | ARRAYS

# Domains that every database has, with checks that call nothing.
STANDARD_DOMAINS: Final = frozenset(
    ("cardinal_number", "character_data", "sql_identifier", "time_stamp", "yes_or_no")
)

# The built-in operators; one of somebody's own calls a function.
_OPERATORS: Final = """
!! !~ !~* !~~ !~~* # ## #- #> #>> % & && &< &<| &> * *< *<= *<> *= *> *>= + - -> ->> -|- / < <->
<< <<= <<| <= <> != <@ <^ = > >= >> >>= >^ ? ?# ?& ?- ?-| ?| ?|| @ @-@ @> @? @@ @@@ ^ ^@ | |&>
|/ |>> || ||/ ~ ~* ~<=~ ~<~ ~= ~>=~ ~>~ ~~ ~~*
"""
OPERATORS: Final = frozenset(_OPERATORS.split())

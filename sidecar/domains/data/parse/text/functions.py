"""The functions that may be called unasked: they read their arguments and nothing else.

An allow-list, because a deny-list is got round by the next function that runs SQL from a text
(`query_to_xml`, `ts_rewrite`, `ts_stat`, `dblink`), reads a file, a setting or a statistic. It
holds PostgreSQL's immutable functions, without those that implement operators and types, and a few
stable and volatile ones that were looked at one by one. All live in `pg_catalog`. Functions of the
organisation's own are declared in the catalogue with the tables that they read and write.
"""

from typing import Final

# Immutable in PostgreSQL 18, a few only there; a name that a server lacks is its own error.
_IMMUTABLE: Final = """
abbrev abs acos acosd acosh age any_value area array_agg array_dims array_fill array_length
array_lower array_ndims array_position array_positions array_remove array_replace array_reverse
array_sort array_to_tsvector array_upper array_append array_prepend array_cat ascii asin asind
asinh atan atan2 atan2d atand atanh avg bit_and bit_count bit_length bit_or bit_xor bool
bool_and bool_or bound_box box bpchar broadcast btrim bytea cardinality casefold cbrt ceil
ceiling center char_length character_length chr cidr circle corr cos cosd cosh cot cotd count
covar_pop covar_samp crc32 crc32c cume_dist date date_add date_bin date_part date_subtract
date_trunc datemultirange daterange decode degrees dense_rank diagonal diameter div encode erf
erfc every exp extract factorial family first_value float4 float8 floor gamma gcd
generate_series generate_subscripts get_bit get_byte height host hostmask initcap int2 int4
int4multirange int4range int8 int8multirange int8range is_normalized isclosed isempty isfinite
ishorizontal isopen isparallel isperp isvertical json_array_elements json_array_elements_text
json_array_length json_each json_each_text json_extract_path json_extract_path_text json_object
json_object_keys json_strip_nulls json_typeof jsonb_array_elements jsonb_array_elements_text
jsonb_array_length jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text
jsonb_insert jsonb_object jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique
jsonb_object_agg_unique_strict jsonb_object_keys jsonb_path_exists jsonb_path_match
jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set
jsonb_set_lax jsonb_strip_nulls jsonb_typeof justify_days justify_hours justify_interval lag
last_value lcm lead left length lgamma line ln log log10 lower lower_inc lower_inf lpad lseg
ltrim macaddr macaddr8 macaddr8_set7bit make_date make_interval make_time make_timestamp masklen
max md5 min min_scale mod mode multirange netmask network normalize npoints nth_value ntile
num_nonnulls num_nulls nummultirange numnode numrange octet_length overlay parse_ident path
pclose percent_rank percentile_cont percentile_disc pi point polygon popen position pow power
querytree quote_ident quote_literal quote_nullable radians radius range_agg range_intersect_agg
range_merge rank regexp_count regexp_instr regexp_like regexp_match regexp_matches
regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr regr_avgx regr_avgy
regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat replace reverse
right round row_number rpad rtrim scale set_bit set_byte set_masklen setweight sha224 sha256
sha384 sha512 sign sin sind sinh slope split_part sqrt starts_with stddev stddev_pop stddev_samp
string_agg string_to_array string_to_table strip strpos substr substring sum tan tand tanh text
timetz timezone to_ascii to_bin to_hex to_oct to_timestamp translate trim_array trim_scale trunc
ts_delete ts_filter ts_rank ts_rank_cd tsmultirange tsquery_phrase tsrange tstzmultirange
tstzrange tsvector_to_array unicode_assigned unicode_version unistr unnest upper upper_inc
upper_inf uuid_extract_timestamp uuid_extract_version var_pop var_samp variance width
width_bucket xml_is_well_formed_content xml_is_well_formed_document xmlagg xmlcomment xmlexists
xmltext xpath xpath_exists
"""

# Stable or volatile, and looked at: they depend on the clock, the time zone, chance or who asks.
_REVIEWED: Final = """
array_sample array_shuffle array_to_json array_to_string clock_timestamp concat concat_ws
current_database current_schema current_user format gen_random_uuid json_agg json_agg_strict
json_build_array json_build_object json_object_agg json_object_agg_strict json_object_agg_unique
json_object_agg_unique_strict json_to_tsvector jsonb_agg jsonb_agg_strict jsonb_build_array
jsonb_build_object jsonb_to_tsvector make_timestamptz now pg_typeof phraseto_tsquery
plainto_tsquery random random_normal row_to_json session_user statement_timestamp timestamptz
to_char to_date to_json to_jsonb to_number to_tsquery to_tsvector transaction_timestamp
ts_headline uuidv4 uuidv7 version websearch_to_tsquery xml_is_well_formed
"""

# The grammar's own constructs that look like calls, spelt as `canonical` hands them on.
_CONSTRUCTS: Final = """
array coalesce greatest grouping least nullif row trim xmlattributes xmlconcat xmlelement
xmlforest current_catalog current_date current_role current_time current_timestamp localtime
localtimestamp user
"""

ALLOWED: Final = frozenset((_IMMUTABLE + _REVIEWED + _CONSTRUCTS).split())

# What a call in FROM yields where it is not one column of the call's own name.
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "json_each": ("key", "value"),
    "json_each_text": ("key", "value"),
    "jsonb_each": ("key", "value"),
    "jsonb_each_text": ("key", "value"),
    "json_array_elements": ("value",),
    "json_array_elements_text": ("value",),
    "jsonb_array_elements": ("value",),
    "jsonb_array_elements_text": ("value",),
}

# They yield what their arguments hold: of a composite, its columns in place of one of their own.
VARIED: Final = frozenset(("coalesce", "greatest", "least", "lower", "nullif", "unnest", "upper"))

# Constructs whose column PostgreSQL's parser names otherwise, or did in some version.
OTHERWISE_NAMED: Final = frozenset(
    ("extract", "trim", "user", "xmlelement", "xmlforest", "xmlconcat", "xmlattributes")
)

# Built-in types; a domain or a type of somebody's own may run code when it is cast to.
_TYPES: Final = """
bigint bit bool boolean box bpchar bytea char character cidr circle date datemultirange
daterange dec decimal double float float4 float8 inet int int2 int4 int4multirange int4range
int8 int8multirange int8range integer interval json jsonb jsonpath line lseg macaddr macaddr8
money name nchar numeric nummultirange numrange path point polygon real smallint text time
timestamp timestamptz timetz tsquery tsrange tsmultirange tstzrange tstzmultirange tsvector uuid
varbit varchar xml pg_lsn
"""
TYPES: Final = frozenset(_TYPES.split())

# The built-in operators; one of somebody's own calls a function.
_OPERATORS: Final = """
!! !~ !~* !~~ !~~* # ## #- #> #>> % & && &< &<| &> * *< *<= *<> *= *> *>= + - -> ->> -|- / < <->
<< <<= <<| <= <> != <@ <^ = > >= >> >>= >^ ? ?# ?& ?- ?-| ?| ?|| @ @-@ @> @? @@ @@@ ^ ^@ | |&>
|/ |>> || ||/ ~ ~* ~<=~ ~<~ ~= ~>=~ ~>~ ~~ ~~*
"""
OPERATORS: Final = frozenset(_OPERATORS.split())

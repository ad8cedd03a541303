"""What a statement finds out about the database itself, and from which system catalogue.

`'name'::regclass` tells whether a relation is there, `pg_get_viewdef` how a view is made. None of
it is a row of a table, all of it comes from `pg_catalog`: each is a target of class `list` on the
system catalogue that answers, whether or not a catalogue file lists it, so that a policy has to
permit it. What looks at rows, statistics, files, settings or other sessions is not here.
"""

from typing import Final

# Types whose values are looked up by name and shown by name.
TYPES: Final[dict[str, str]] = {
    "regclass": "pg_class", "regcollation": "pg_collation", "regconfig": "pg_ts_config",
    "regdictionary": "pg_ts_dict", "regnamespace": "pg_namespace", "regoper": "pg_operator",
    "regoperator": "pg_operator", "regproc": "pg_proc", "regprocedure": "pg_proc",
    "regrole": "pg_authid", "regtype": "pg_type",
}  # fmt: skip

_FUNCTIONS: Final = {
    "pg_attribute": "pg_get_expr",
    "pg_authid": "has_any_column_privilege pg_get_userbyid pg_has_role to_regrole",
    "pg_class": """
        col_description has_column_privilege has_table_privilege has_sequence_privilege
        pg_get_serial_sequence pg_indexes_size pg_relation_filenode pg_relation_is_publishable
        pg_relation_is_updatable pg_relation_size pg_table_is_visible pg_table_size
        pg_total_relation_size pg_column_is_updatable row_security_active to_regclass
    """,
    "pg_collation": "pg_collation_is_visible to_regcollation",
    "pg_constraint": "pg_get_constraintdef",
    "pg_conversion": "pg_conversion_is_visible",
    "pg_database": "has_database_privilege pg_database_size",
    "pg_depend": "pg_describe_object pg_get_object_address pg_identify_object "
    "pg_identify_object_as_address",
    "pg_description": "obj_description",
    "pg_extension": "pg_available_extensions",
    "pg_index": "pg_get_indexdef pg_index_column_has_property pg_index_has_property "
    "pg_indexam_has_property",
    "pg_inherits": "pg_partition_ancestors pg_partition_root pg_partition_tree",
    "pg_language": "has_language_privilege",
    "pg_namespace": "has_schema_privilege pg_is_other_temp_schema pg_my_temp_schema "
    "to_regnamespace",
    "pg_opclass": "pg_opclass_is_visible",
    "pg_operator": "pg_operator_is_visible to_regoper to_regoperator",
    "pg_opfamily": "pg_opfamily_is_visible",
    "pg_partitioned_table": "pg_get_partition_constraintdef pg_get_partkeydef",
    "pg_proc": """
        has_function_privilege pg_function_is_visible pg_get_function_arg_default
        pg_get_function_arguments pg_get_function_identity_arguments pg_get_function_result
        pg_get_function_sqlbody pg_get_functiondef to_regproc to_regprocedure
    """,
    "pg_rewrite": "pg_get_ruledef pg_get_viewdef",
    "pg_settings": "current_setting",
    "pg_shdescription": "shobj_description",
    "pg_statistic_ext": "pg_get_statisticsobjdef pg_get_statisticsobjdef_columns "
    "pg_get_statisticsobjdef_expressions pg_statistics_obj_is_visible",
    "pg_tablespace": "has_tablespace_privilege pg_tablespace_location pg_tablespace_size",
    "pg_trigger": "pg_get_triggerdef",
    "pg_ts_config": "pg_ts_config_is_visible",
    "pg_ts_dict": "pg_ts_dict_is_visible",
    "pg_ts_parser": "pg_ts_parser_is_visible",
    "pg_ts_template": "pg_ts_template_is_visible",
    "pg_type": "format_type has_type_privilege oidvectortypes pg_basetype pg_type_is_visible "
    "to_regtype to_regtypemod",
}
FUNCTIONS: Final[dict[str, str]] = {
    name: table for table, names in _FUNCTIONS.items() for name in names.split()
}

# What they yield in FROM beyond one column of their own name.
COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "pg_available_extensions": ("name", "default_version", "comment"),
    "pg_identify_object": ("type", "schema", "name", "identity"),
    "pg_identify_object_as_address": ("type", "object_names", "object_args"),
    "pg_get_object_address": ("classid", "objid", "objsubid"),
    "pg_partition_tree": ("relid", "parentrelid", "isleaf", "level"),
    "pg_partition_ancestors": ("relid",),
}
# Calls that read a column of a catalogue's view, which has to be listed: here, of any row of it.
READS: Final = {
    "pg_sequence_last_value": ("pg_sequences", "last_value"),
    "pg_stat_get_dead_tuples": ("pg_stat_all_tables", "n_dead_tup"),
    "pg_stat_get_live_tuples": ("pg_stat_all_tables", "n_live_tup"),
    "pg_stat_get_numscans": ("pg_stat_all_indexes", "idx_scan"),
}
# Calls that move or read a sequence; the name of one that moves has to be a literal. The others
# tell what this very session has drawn, of whichever sequence.
DRAWN: Final = frozenset(("currval", "lastval"))
SEQUENCES: Final = DRAWN | {"nextval", "setval"}

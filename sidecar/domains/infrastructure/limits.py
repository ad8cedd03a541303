"""Bounds on what an infrastructure call may hold, each with its reason."""

from typing import Final

# Servers that we stand before cut or refuse longer ones, each at its own length.
URL_BYTES_MAX: Final = 16 * 1024
QUERY_PAIRS_MAX: Final = 512
HEADERS_MAX: Final = 128
HEADER_BYTES_MAX: Final = 8 * 1024
# An EC2 call names at most a thousand instances, each with a few parameters of its own.
FORM_PAIRS_MAX: Final = 4096
# DNS-1123: a label and a subdomain.
LABEL_CHARS_MAX: Final = 63
NAME_CHARS_MAX: Final = 253
# What DeleteObjects takes in one request.
DELETE_KEYS_MAX: Final = 1000
XML_BYTES_MAX: Final = 2 * 1024 * 1024
XML_DEPTH_MAX: Final = 8
# S3 keys are at most 1024 bytes of UTF-8.
KEY_BYTES_MAX: Final = 1024
# More resources than this in one call are not judged one by one.
TARGETS_MAX: Final = 2000
# Models of AWS services held compiled; the largest (ec2) takes about 20 MB.
MODELS_MAX: Final = 32
PLAN_CHANGES_MAX: Final = 10_000
# Modules in modules: Terraform itself has no bound, people stay below ten.
MODULE_DEPTH_MAX: Final = 32
GLOBS_MAX: Final = 10_000

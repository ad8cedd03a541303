"""What was asked, as a record keeps it: masked in the record, sealed or too large beside it."""

from sidecar.record.inputs.secrets import Secrets, secrets_path
from sidecar.record.inputs.store import Inputs, inputs_path

__all__ = ["Inputs", "Secrets", "inputs_path", "secrets_path"]

"""The words of `k8s`, `aws` and `terraform` calls that rules may read; the obligations."""

from typing import Final

from sidecar.terms.domain import DENY_OBLIGATIONS, Vocabulary, Word

NAME: Final = "infrastructure"
PROTOCOLS: Final = ("k8s", "aws", "terraform")

_K8S: Final = (
    Word("request.k8s.verb", "string", "RequestInfo verb, or the lower-case method"),
    Word("request.k8s.group", "string", "API group, `\"\"` for the core"),
    Word("request.k8s.version", "string", "API version, `v1`"),
    Word("request.k8s.resource", "string", "plural, `pods`"),
    Word("request.k8s.subresource", "string", "`log`, `exec`, …; `\"\"` when none"),
    Word("request.k8s.namespace", "string", "`\"\"` when cluster-wide"),
    Word("request.k8s.name", "string", "from path, field selector or created object; or `\"\"`"),
    Word("request.k8s.path", "string", "path, each segment decoded once"),
    Word("request.k8s.resource_request", "bool", "whether the path is that of a resource"),
    Word("request.k8s.label_selector", "string", "of list, watch and deletecollection"),
    Word("request.k8s.field_selector", "string", "of list, watch and deletecollection"),
    Word("request.k8s.dry_run", "bool", "whether the server is sure to persist nothing"),
    Word("request.k8s.command", "list(string)", "what `exec` runs", sensitive=True),
    Word("request.k8s.object", "dyn", "the JSON body; absent without one", sensitive=True),
    Word("action.properties.dry_run", "bool", "as `request.k8s.dry_run`; on `aws` EC2's `DryRun`"),
    Word("action.properties.command", "list(string)", "as `request.k8s.command`", sensitive=True),
    Word("resource.properties.namespace", "string", "`\"\"` when cluster-wide"),
    Word("resource.properties.name", "string", "`\"\"` when none"),
)  # fmt: skip
_AWS: Final = (
    Word("request.aws.service", "string", "signing name; `cloudwatch` for `monitoring`"),
    Word("request.aws.operation", "string", "`GetObject`"),
    Word("request.aws.protocol", "string", "`json`, `query`, `ec2`, `rest-json` or `rest-xml`"),
    Word("request.aws.region", "string", "region of the credential scope"),
    Word("request.aws.params", "map(string, dyn)", "the operation's input", sensitive=True),
    Word("request.aws.bucket", "string", "of an S3 call that names one"),
    Word("request.aws.key", "string", "of an S3 call that names one, decoded once"),
    Word("action.properties.dry_run", "bool", "EC2's `DryRun`"),
    Word("resource.properties.version_id", "string", "of an S3 object, when asked for by version"),
    Word("resource.properties.account", "string", "of an ARN or a queue, when named"),
    Word("resource.properties.region", "string", "of an ARN, when named"),
    Word("resource.properties.qualifier", "string", "version or alias of a function, when named"),
)  # fmt: skip
_TERRAFORM: Final = (
    Word("request.terraform.format_version", "string", "`1.2`"),
    Word("request.terraform.terraform_version", "string", "`1.11.4`"),
    Word("request.terraform.counts", "map(string, int)", "changes by kind, a replacement once"),
    Word("request.terraform.complete", "bool", "absent where the plan does not say"),
    Word("request.terraform.errored", "bool", "absent where the plan does not say"),
    Word("resource.properties.provider", "string", "`registry.terraform.io/hashicorp/aws`"),
    Word("resource.properties.module", "string", "module address, `\"\"` for the root"),
    Word("resource.properties.mode", "string", "`managed` or `data`"),
    Word("resource.properties.before", "dyn", "values, sensitive ones replaced", sensitive=True),
    Word("resource.properties.after", "dyn", "as `before`; unknown are absent", sensitive=True),
    Word("resource.properties.unknown_paths", "list(string)", "what is known only after the apply"),
    Word("resource.properties.reason", "string", "Terraform's; absent without one"),
    Word("resource.properties.provisioners", "list(string)", "types of the provisioners that run"),
)  # fmt: skip

VOCABULARY: Final = Vocabulary(
    words={"k8s": _K8S, "aws": _AWS, "terraform": _TERRAFORM},
    phases=dict.fromkeys(PROTOCOLS, ("call",)),
    obligations=DENY_OBLIGATIONS,
)

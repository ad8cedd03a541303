"""What random expressions are made of; see `expressions`."""

from typing import Final

KINDS: Final = (
    *("bool", "int", "uint", "double", "string", "bytes", "duration", "timestamp"),
    *("list", "map", "optional", "type", "any"),
)
_TEXTS: Final = (
    *("''", "'a'", "'ab'", "'é'", "'b.c'", "'😀'", "'1'", "'true'", "'ABé'", "' a '"),
    *(r"'\n\t\\'", r'"\"\x41\101"', r"'\u00e9\U0001F600'", r"r'\n'", "'''a'b'''"),
    *("'a\u0301'", "'ǆ'", "'ß'", "'\u2028'", "'%'", "'a,b,,c'"),
)
LEAVES: Final[dict[str, tuple[str, ...]]] = {
    "any": (
        *("d.n", "d.absent", "d.o.p", "d.i", "null", "d.m.b", "d", "d.x", "2u", "d.s", "d.f"),
        *("d.b", "d.m", "d.l", "1", "'a'", "b'a'", "1.0", "duration('1s')", "optional.none()"),
        *("optional.of(1)", "int", "{1: 2u}", "[]", "{}", "timestamp(0)", "d.?absent", "0u"),
    ),
    "bool": (
        *("true", "false", "d.b", "d.b", "d.b", "d.absent", "has(d.m.a)", "(d.n == null)"),
        *("has(d.o.p.q)", "has(d.m.a.a.a)", "has(d.absent.a)", "has(d.o.p)"),
    ),
    "int": (
        *("d.i", "d.j", "d.l[0]", "d.m.a", *("0", "1", "2", "-1", "3") * 4),
        *("9223372036854775807", "-9223372036854775808", "9007199254740993", "0x7f", "-0x10"),
    ),
    "uint": (
        *("0u", "1u", "2u", "3u", "18446744073709551615u", "9223372036854775808u", "0xffu"),
        "uint(d.i)",
    ),
    "double": (
        *("d.f", "0.0", "1.0", "2.5", "-1.5", "9007199254740992.0", "1e300", "-0.0", "1e-7"),
        *(".5", "9223372036854775807.0", "18446744073709551615.0", "0.1", "1e19"),
        *("double('NaN')", "double('inf')"),
    ),
    "string": ("d.s", "d.t", "d.w[0]", *_TEXTS),
    "bytes": (
        *("b''", "b'a'", "b'ab'", r"b'\xff'", r"b'\377\000'", "b'é'", r"br'\n'", "bytes(d.s)"),
    ),
    "duration": (
        *("duration('0')", "duration('1s')", "duration('-1.5s')", "duration('1h2m3.000000004s')"),
        *("duration('100us')", "duration('24h')", "duration('2562047h')"),
    ),
    "timestamp": (
        *("timestamp(0)", "timestamp('1970-01-01T00:00:01Z')", "timestamp(-1)"),
        *("timestamp('2024-02-29T23:59:59.123456789Z')", "timestamp('0001-01-01T00:00:00Z')"),
        *("timestamp('2026-03-29T01:30:00+02:00')", "timestamp('9999-12-31T23:59:59Z')"),
    ),
    "list": (
        *("d.l", "d.w", "d.x", "[]", "[1, 2]", "['a', d.s]", "d.o.p.q", "[1, 1u, 1.0]"),
        *("[true, 'a', null]", "[[1], [2, 3]]", "[b'a']", "['b', 'a']", "[3, 1, 2]"),
    ),
    "map": (
        *("d.m", "d.o", "d.x[0]", "{}", "{'a': 1}", "d", "{1: 'a', 'a': 1}", "{true: 1, 1: 2}"),
        *("{2u: 'b', 1: 'a'}", "{'a': {'b': {'a': 1}}}", "{'': null}"),
    ),
    "optional": (
        *("optional.none()", "optional.of(1)", "d.?m", "d.?absent", "d.?m.?a", "d[?'s']"),
        *("d.?l[?0]", "d.l[?7]", "optional.ofNonZeroValue(d.i)", "d.?o.p.?q", "d.?m.a.b"),
        *("optional.of(optional.of(2))", "optional.ofNonZeroValue('')", "optional.of(null)"),
    ),
    "type": (
        *("int", "uint", "double", "string", "bytes", "bool", "list", "map", "null_type", "type"),
        *("google.protobuf.Duration", "google.protobuf.Timestamp", "optional_type"),
    ),
}
_FIELDS: Final = ("a", "b", "k", "p", "absent")
FORMS: Final[dict[str, tuple[str, ...]]] = {
    "any": (
        *("«map».a", "«list»[«int»]", "«map»['b']", "(«bool» ? «any» : «any»)", "«list»[0].k"),
        *("«int»", "«string»", "«bool»", "«double»", "«list»", "«map»", "«int»", "«string»"),
        *("dyn(«any»)", "«map».?a.orValue(«any»)", "«map»[«string»]", "«uint»", "«bytes»"),
        *("«duration»", "«timestamp»", "«optional»", "«type»", "«map»[«any»]", "«list»[«any»]"),
        *("«optional».value()", "«optional».orValue(«any»)", "«map».a.b.k", "«any».a", "«any»[0]"),
        *("(«any» + «any»)", "(«any» - «any»)", "(«any» * «any»)", "-(«any»)"),
        *("math.greatest(«any», «any»)", "math.least(«list»)", "math.abs(«any»)"),
        *("math.sign(«any»)", "«any».size()"),
    ),
    "bool": (
        *("(«bool» && «bool»)", "(«bool» || «bool»)", "!(«bool»)", "(«int» == «int»)"),
        *("(«any» == «any»)", "(«string» == «string»)", "(«any» != «any»)", "(«int» < «int»)"),
        *("(«int» >= «double»)", "(«double» <= «any»)", "(«string» > «string»)"),
        *("(«string» in «list»)", "(«string» in «map»)", "(«any» in «list»)", "(«any» in «map»)"),
        *("(«any» in ['a', 'ab'])", "«string».startsWith('a')", "«string».endsWith(«string»)"),
        *("«string».contains(«string»)", "«string».matches('^[a-b]+$')", "(«any» == 'a')"),
        *("(«any» == 1)", "(«any» == 0.0)", "(«any» != true)", "(«any» > 1)", "(1.5 < «any»)"),
        *("(«bool» ? «bool» : «bool»)", "has(«map».a)", "(size(«any») > 1)", "(«int» > 1)"),
        *("«map».?b.hasValue()", "(«list» == «list»)", "(«map» == «map»)", "('a' <= «any»)"),
        *("(«any» == false)", "«list».exists(e, e == 'a')", "(«any» < «any»)", "(«any» >= «any»)"),
        *("has(«any».a)", "has(«map».a.b)", "has(«list»[0].k)", "has(«optional».a)"),
        *("«optional».hasValue()", "(«optional» == «optional»)", "(«uint» == «int»)"),
        *("(«uint» < «double»)", "(«int» <= «uint»)", "(«double» == «uint»)", "(«any» in [1, 2u])"),
        *("(«bytes» == «bytes»)", "(«bytes» < «bytes»)", "(«duration» < «duration»)"),
        *("(«timestamp» >= «timestamp»)", "(«timestamp» == «timestamp»)", "(«bool» < «bool»)"),
        *("(type(«any») == «type»)", "(type(«any») != type(«any»))", "(«type» == «type»)"),
        *("bool(«string»)", "sets.contains(«list», «list»)", "sets.intersects(«list», «list»)"),
        *("sets.equivalent(«list», «list»)", "math.isNaN(«double»)", "math.isInf(«double»)"),
        *("math.isFinite(«double»)", "(«any» in {1: 1, 'a': 2, true: 3})", "(«map»[«any»] == 1)"),
        *("(«list» + «list» == «list»)", "(«string» + «string» == «string»)"),
        *("(«any» == {'a': «any»})", "(«any» == [«any»])", "(«bool» == «bool»)"),
        *("(«bool» && «bool» && «bool» || «bool» && «bool»)", "(«bool» || «bool» || !«bool»)"),
        *(f"has(«map».{field})" for field in _FIELDS),
    ),
    "int": (
        *("(«int» + «int»)", "(«int» - «int»)", "(«int» * «int»)", "(«int» / «int»)"),
        *("(«int» % «int»)", "-(«int»)", "size(«string»)", "«list».size()", "int(«double»)"),
        *("int(«string»)", "(«bool» ? «int» : «int»)", "«string».indexOf('a')", "«list»[0]"),
        *("math.greatest(«int», «int»)", "d.x[1].v", "d.x.filter(e, e.k == «string»).size()"),
        *("«map».?a.orValue(«int»)", "size(«bytes»)", "size(«map»)", "int(«uint»)"),
        *("int(«timestamp»)", "«duration».getHours()", "«duration».getSeconds()"),
        *("«duration».getMilliseconds()", "«timestamp».getFullYear()", "«timestamp».getMonth()"),
        *("«timestamp».getDayOfYear()", "«timestamp».getDayOfWeek()", "«timestamp».getDate()"),
        *("«timestamp».getHours('+02:00')", "«timestamp».getDayOfMonth('-11:30')"),
        *("«timestamp».getMinutes('Asia/Kolkata')", "«timestamp».getMilliseconds()"),
        *("math.bitAnd(«int», «int»)", "math.bitOr(«int», «int»)", "math.bitXor(«int», «int»)"),
        *("math.bitNot(«int»)", "math.bitShiftLeft(«int», «int»)", "math.abs(«int»)"),
        *("math.bitShiftRight(«int», «int»)", "math.least(«int», «int», «int»)"),
        *("«string».lastIndexOf(«string»)", "«string».indexOf(«string», «int»)"),
        *("cel.bind(c, «int», c + c)", "«optional».orValue(«int»)", "«list».map(e, «int»)[0]"),
    ),
    "uint": (
        *("(«uint» + «uint»)", "(«uint» - «uint»)", "(«uint» * «uint»)", "(«uint» / «uint»)"),
        *("(«uint» % «uint»)", "uint(«int»)", "uint(«double»)", "uint(«string»)"),
        *("math.greatest(«uint», «uint»)", "math.bitAnd(«uint», «uint»)", "math.bitNot(«uint»)"),
        *("math.bitShiftLeft(«uint», «int»)", "(«bool» ? «uint» : «uint»)", "«list»[«uint»]"),
    ),
    "double": (
        *("(«double» + «double»)", "(«double» * «double»)", "(«double» / «double»)"),
        *("double(«int»)", "-(«double»)", "(«bool» ? «double» : «double»)", "double(«uint»)"),
        *("(«double» - «double»)", "double(«string»)", "math.ceil(«double»)"),
        *("math.floor(«double»)", "math.round(«double»)", "math.trunc(«double»)"),
        *("math.abs(«double»)", "math.sign(«double»)", "math.sqrt(«double»)", "math.sqrt(«int»)"),
        *("math.least(«double», «double»)", "math.greatest(«list»)"),
    ),
    "string": (
        *("(«string» + «string»)", "«string».lowerAscii()", "string(«int»)"),
        *("«string».substring(«int»)", "(«bool» ? «string» : «string»)", "«list»[1]"),
        *("«string».replace('a', 'b')", "string(«bool»)", "«string».charAt(«int»)", "«map».b"),
        *("«string».upperAscii()", "«string».trim()", "«string».reverse()", "string(«uint»)"),
        *("«string».replace(«string», «string»)", "«string».replace('', '-', «int»)"),
        *("«string».substring(«int», «int»)", "string(«bytes»)", "«list».join(«string»)"),
        *("strings.quote(«string»)", "base64.encode(«bytes»)", "«string».split('').join('.')"),
        *("'%d|%s'.format([«int», «string»])", "'%x %o %b'.format([«int», «uint», «int»])"),
        *("'%s'.format([«bool»])", "'%X'.format([«bytes»])", "'%s'.format([[«int», «string»]])"),
        *("regex.replace(«string», '[a-b]', 'x')", "regex.extract(«string», 'a.').orValue('')"),
        *("string(type(«any») == int)", "«optional».orValue(«string»)"),
    ),
    "bytes": (
        *("bytes(«string»)", "(«bytes» + «bytes»)", "(«bool» ? «bytes» : «bytes»)"),
        *("base64.decode(base64.encode(«bytes»))", "bytes(«bytes»)", "base64.decode(«string»)"),
    ),
    "duration": (
        *("(«duration» + «duration»)", "(«duration» - «duration»)", "duration(«string»)"),
        *("(«timestamp» - «timestamp»)", "(«bool» ? «duration» : «duration»)"),
    ),
    "timestamp": (
        *("(«timestamp» + «duration»)", "(«timestamp» - «duration»)", "timestamp(«int»)"),
        *("(«duration» + «timestamp»)", "timestamp(«timestamp»)", "timestamp(«string»)"),
    ),
    "list": (
        *("[«any», «any»]", "(«list» + «list»)", "[«string»]", "(«bool» ? «list» : «list»)"),
        *("«string».split('b')", "[?«map».?a, «int»]", "[?«optional», «any»]", "«list».reverse()"),
        *("«list».slice(«int», «int»)", "«list».flatten()", "«list».distinct()", "«list».sort()"),
        *("lists.range(«int» % 4)", "«list».flatten(2)", "[«int», «uint», «double»]"),
        *("«string».split(«string», «int»)", "[[«any»], [«any»]]", "[«optional»]"),
        *("optional.unwrap([«optional», «optional»])", "regex.extractAll(«string», '[a-c]+')"),
    ),
    "map": (
        *("{'a': «any», 'b': «string»}", "«map».p", "«list»[0]", "{«string»: «any»}"),
        *("(«bool» ? «map» : «map»)", "{«any»: «any»}", "{«int»: 1, «uint»: 2}", "{«bool»: «any»}"),
        *("{?'a': «optional», 'b': 1}", "{«int»: «any», «string»: «any»}", "{?'a': «map».?a}"),
        *("{'a': {'b': «any», 'a': «map»}}",),
    ),
    "optional": (
        *("optional.of(«any»)", "optional.ofNonZeroValue(«any»)", "«map».?a", "«map»[?«string»]"),
        *("«list»[?«int»]", "«optional».or(«optional»)", "«optional».?a", "«optional»[?0]"),
        *("«optional».a", "«map».?a.b", "«map».?a.?b.a", "«map»[?«any»]", "«list».first()"),
        *("«list».last()", "regex.extract(«string», 'b(.)')", "(«bool» ? «optional» : «optional»)"),
    ),
    "type": ("type(«any»)", "type(type(«any»))", "(«bool» ? «type» : «type»)", "type(«map».a)"),
}
# Macros: behind the `@` their names are known.
SCOPED: Final[dict[str, tuple[str, ...]]] = {
    "bool": (
        *(f"«list»@.{macro}(#, «bool»)" for macro in ("exists", "all", "exists_one") * 3),
        *(f"«map»@.{macro}(#, «bool»)" for macro in ("exists", "all", "exists_one")),
        *(f"«list»@.{macro}(#, ##, «bool»)" for macro in ("exists", "all", "existsOne")),
        *(f"«map»@.{macro}(#, ##, «bool»)" for macro in ("exists", "all", "existsOne")),
        *("cel.bind(#, «any»@, «bool»)", "«any»@.all(#, «bool»)"),
    ),
    "list": (
        *("«list»@.filter(#, «bool»)", "«list»@.map(#, «any»)", "«list»@.map(#, «bool», «any»)"),
        *(
            "«map»@.map(#, «any»)",
            "«map»@.filter(#, «bool»)",
            "«list»@.transformList(#, ##, «any»)",
        ),
        *("«map»@.transformList(#, ##, «any»)", "«list»@.transformList(#, ##, «bool», «any»)"),
        *("«list»@.sortBy(#, «int»)", "«list»@.sortBy(#, «any»)"),
    ),
    "map": (
        *("«map»@.transformMap(#, ##, «any»)", "«map»@.transformMap(#, ##, «bool», «any»)"),
        *("«list»@.transformMap(#, ##, «any»)", "«map»@.transformMapEntry(#, ##, {#: «any»})"),
        *("«list»@.transformMapEntry(#, ##, {«string»: #})",),
    ),
    "optional": ("«optional»@.optMap(#, «any»)", "«optional»@.optFlatMap(#, «optional»)"),
    "any": ("cel.bind(#, «any»@, «any»)", "«list»@.map(#, «bool», «any»)[0]"),
    "int": ("cel.bind(#, «int»@, «int»)",),
    "string": ("cel.bind(#, «string»@, «string»)",),
}
# Functions of ours and of Kubernetes, which the engine beside us does not have.
OWN_FORMS: Final[dict[str, tuple[str, ...]]] = {
    "bool": (
        *("glob('a*b*', «string»)", "glob(«string», «string»)", "«list».isSorted()"),
        *("isIP(«string»)", "(ip('10.0.0.1') == ip('::ffff:a00:1'))", "isQuantity(«string»)"),
        *("cidr('10.0.0.0/8').containsIP(«list»[0])", "isURL(«string»)", "isCIDR(«string»)"),
        *("quantity('1k').isLessThan(quantity(«string»))", "(«any» in «list»)"),
        "«list».exists(q, «list».indexOf(q) > 0)",
    ),
    "int": (
        *("«list».sum()", "«list».max()", "«list».min()", "«list».indexOf(«any»)"),
        *("«list».lastIndexOf(«any»)", "quantity('1.5k').add(«int»).asInteger()"),
        *("«string».findAll('[a-c]').size()", "quantity(«string»).sign()"),
    ),
    "string": (
        *("«string».find('[a-b]+')", "«string».findAll('.', «int»).join('')"),
        *("url('https://a.b/c?d=' + «string»).getHost()", "«list».max()", "string(«double»)"),
        *("string(«timestamp»)", "string(«duration»)", "'%s %f %e'.format([«any», «any», «any»])"),
    ),
    "any": ("«list».sum()", "«list».min()", "quantity(«string»)", "url(«string»)", "ip(«string»)"),
    "list": ("«string».findAll(«string»)", "«list».sort()"),
}

"""IP addresses and networks, judged also by the IPv4 address that an IPv6 address carries.

A packet to `64:ff9b::7f00:1` reaches 127.0.0.1 where there is a NAT64, so a rule that names
127.0.0.0/8 must see it. Every address has faces: itself, and each IPv4 address that a transition
mechanism would send it to. `isLoopback`, `isUnspecified`, the link-local questions and `containsIP`
hold when they hold for any face; `isGlobalUnicast` only when it holds for all. `==` compares the
addresses themselves. An IPv4-mapped address is its IPv4 address; written with dots, or in a CIDR,
it is refused, as is a zone.

Source: RFC 4291 §2.5.5 (compatible, mapped), RFC 6052 and RFC 8215 (NAT64), RFC 3056 (6to4),
RFC 4380 (Teredo), RFC 2765 (translated); the functions are those of the network extension.
"""

import ipaddress
from typing import Final

from sidecar.policy.language.faults import BadConversion, NoSuchOverload
from sidecar.policy.language.functions.signature import function, member, spells
from sidecar.policy.language.values.kinds import Cidr, Ip
from sidecar.policy.language.values.limits import SCALAR_CHARS_MAX
from sidecar.policy.language.values.texts import ip_text

_BITS: Final = {4: 32, 6: 128}
_LOW_32: Final = 0xFFFF_FFFF
_MAPPED: Final = 0xFFFF


def _network(text: str) -> tuple[int, int, int]:
    net = ipaddress.ip_network(text)
    return net.version, int(net.network_address), net.prefixlen


_LOOPBACK: Final = (_network("127.0.0.0/8"), _network("::1/128"))
_UNSPECIFIED: Final = (_network("0.0.0.0/32"), _network("::/128"))
_LINK_LOCAL: Final = (_network("169.254.0.0/16"), _network("fe80::/10"))
_LINK_LOCAL_MULTICAST: Final = (
    _network("224.0.0.0/24"),
    # Interface and link scope, whatever the flags.
    *(_network(f"ff{flags:x}2::/16") for flags in range(16)),
)
_NOT_GLOBAL_UNICAST: Final = (
    *_LOOPBACK,
    *_UNSPECIFIED,
    *_LINK_LOCAL,
    _network("224.0.0.0/4"),
    _network("255.255.255.255/32"),
    _network("ff00::/8"),
)
# Where IPv4 addresses lie in IPv6: (network, its length, bits behind the IPv4 address, inverted).
_CARRIERS: Final = (
    (_network("64:ff9b::/96"), 0, 0),
    (_network("2002::/16"), 80, 0),
    (_network("::/96"), 0, 0),
    (_network("::ffff:0:0:0/96"), 0, 0),
    # A Teredo client's address is stored with every bit turned.
    (_network("2001::/32"), 0, _LOW_32),
    (_network("64:ff9b:1::/48"), 0, 0),
)
# Of the local NAT64 prefix a site may use a /48 too: 16 bits, the octet `u`, 16 bits more.
_LOCAL_NAT64: Final = _network("64:ff9b:1::/48")


def _parsed(text: str) -> Ip:
    """Return the address that `text` spells, with no leading zeros and no zone."""
    if len(text) > SCALAR_CHARS_MAX or "%" in text:
        raise BadConversion
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise BadConversion from None
    number = int(address)
    if address.version == 6 and number >> 32 == _MAPPED:
        # With dots the text itself is ambiguous: readers differ in which address they take.
        if "." in text:
            raise BadConversion
        return Ip(4, number & _LOW_32)
    return Ip(address.version, number)


def _parsed_cidr(text: str) -> Cidr:
    address, slash, length = text.partition("/")
    ip = _parsed(address)
    # A mapped address has become IPv4, and its prefix would mean another network.
    if not slash or (ip.version == 4 and ":" in address):
        raise BadConversion
    is_number = length.isascii() and length.isdigit() and len(length) <= 3
    if not is_number or (length[0] == "0" and length != "0") or int(length) > _BITS[ip.version]:
        raise BadConversion
    return Cidr(ip, int(length))


def to_ip(value: object) -> Ip:
    """Return an address, of a string or of a network's own."""
    if type(value) is str:
        return _parsed(value)
    raise NoSuchOverload


def is_canonical(text: object) -> bool:
    """Return whether `text` spells an address in its one canonical form."""
    return ip_text(to_ip(text)) == text


def to_cidr(value: object) -> Cidr:
    """Return a network of a string."""
    if type(value) is str:
        return _parsed_cidr(value)
    raise NoSuchOverload


def _covers(network: tuple[int, int, int], ip: Ip) -> bool:
    version, number, prefix = network
    behind = _BITS[version] - prefix
    return ip.version == version and ip.number >> behind == number >> behind


def _carried(ip: Ip, prefix: int) -> list[Cidr]:
    """Return the IPv4 networks that an IPv6 network reaches through a transition mechanism."""
    found: list[Cidr] = []
    if ip.version == 4:
        return found
    for network, behind, turned in _CARRIERS:
        # `::` and `::1` are no IPv4 addresses in IPv6's form.
        if _covers(network, ip) and ip.number > 1:
            number = (ip.number >> behind & _LOW_32) ^ turned
            before = 128 - behind - 32
            if prefix >= max(before, network[2]):
                found.append(Cidr(Ip(4, number), min(prefix - before, 32)))
    if _covers(_LOCAL_NAT64, ip) and prefix == 128:
        number = (ip.number >> 64 & 0xFFFF) << 16 | ip.number >> 40 & 0xFFFF
        found.append(Cidr(Ip(4, number), 32))
    return found


def faces(ip: Ip) -> list[Ip]:
    """Return an address and every IPv4 address that it may stand for."""
    return [ip, *(carried.ip for carried in _carried(ip, _BITS[ip.version]))]


def _any_face(ip: object, networks: tuple[tuple[int, int, int], ...]) -> bool:
    if type(ip) is not Ip:
        raise NoSuchOverload
    return any(_covers(network, face) for face in faces(ip) for network in networks)


def family(ip: object) -> int:
    """Return 4 or 6."""
    if type(ip) is Ip:
        return ip.version
    raise NoSuchOverload


def is_loopback(ip: object) -> bool:
    """Return whether an address is the machine itself."""
    return _any_face(ip, _LOOPBACK)


def is_unspecified(ip: object) -> bool:
    """Return whether an address is that of no machine: 0.0.0.0 or ::."""
    return _any_face(ip, _UNSPECIFIED)


def is_link_local_unicast(ip: object) -> bool:
    """Return whether an address is valid on its link alone, as that of a metadata service."""
    return _any_face(ip, _LINK_LOCAL)


def is_link_local_multicast(ip: object) -> bool:
    """Return whether an address is a group on its link alone."""
    return _any_face(ip, _LINK_LOCAL_MULTICAST)


def is_global_unicast(ip: object) -> bool:
    """Return whether an address is of one machine beyond the link; private ones are."""
    return not _any_face(ip, _NOT_GLOBAL_UNICAST)


def contains_ip(cidr: object, ip: object) -> bool:
    """Return whether an address, or one that it stands for, lies in a network."""
    if type(cidr) is not Cidr:
        raise NoSuchOverload
    inner = _parsed(ip) if type(ip) is str else ip
    return _any_face(inner, ((cidr.ip.version, cidr.ip.number, cidr.prefix),))


def contains_cidr(cidr: object, other: object) -> bool:
    """Return whether a whole network, or one that it stands for, lies in another."""
    inner = _parsed_cidr(other) if type(other) is str else other
    if type(cidr) is not Cidr or type(inner) is not Cidr:
        raise NoSuchOverload
    network = (cidr.ip.version, cidr.ip.number, cidr.prefix)
    return any(
        face.prefix >= cidr.prefix and _covers(network, face.ip)
        for face in (inner, *_carried(inner.ip, inner.prefix))
    )


def address(cidr: object) -> Ip:
    """Return the address of a network as written."""
    if type(cidr) is Cidr:
        return cidr.ip
    raise NoSuchOverload


def masked(cidr: object) -> Cidr:
    """Return a network without host bits."""
    if type(cidr) is not Cidr:
        raise NoSuchOverload
    behind = _BITS[cidr.ip.version] - cidr.prefix
    return Cidr(Ip(cidr.ip.version, cidr.ip.number >> behind << behind), cidr.prefix)


def prefix_length(cidr: object) -> int:
    """Return how many bits of the address name the network."""
    if type(cidr) is Cidr:
        return cidr.prefix
    raise NoSuchOverload


DECLARED: Final = (
    function("ip", to_ip, "string -> ip"),
    function("isIP", spells(to_ip), "string -> bool"),
    function("ip.isCanonical", is_canonical, "string -> bool"),
    function("cidr", to_cidr, "string -> cidr"),
    function("isCIDR", spells(to_cidr), "string -> bool"),
    member("family", family, "ip -> int"),
    member("isLoopback", is_loopback, "ip -> bool"),
    member("isUnspecified", is_unspecified, "ip -> bool"),
    member("isLinkLocalUnicast", is_link_local_unicast, "ip -> bool"),
    member("isLinkLocalMulticast", is_link_local_multicast, "ip -> bool"),
    member("isGlobalUnicast", is_global_unicast, "ip -> bool"),
    member("containsIP", contains_ip, "cidr, ip -> bool", "cidr, string -> bool"),
    member("containsCIDR", contains_cidr, "cidr, cidr -> bool", "cidr, string -> bool"),
    member("ip", address, "cidr -> ip"),
    member("masked", masked, "cidr -> cidr"),
    member("prefixLength", prefix_length, "cidr -> int"),
)

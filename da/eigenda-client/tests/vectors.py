"""Writes vectors.json: commitments and proofs made without a line of this crate or of arkworks.

pip install py_ecc==8.0.0 pycryptodome; python tests/vectors.py > tests/vectors.json

Everything is done in the plainest way: interpolation by Lagrange, division of polynomials by the book, one scalar
multiplication after the other. Each proof is checked by py_ecc's pairing before it is written.
"""

import json
import pathlib

from Crypto.Hash import keccak
from py_ecc.optimized_bn128 import G1, G2, FQ, FQ2, Z1, add, curve_order, field_modulus, is_on_curve, multiply, neg, normalize, pairing, b

R, Q = curve_order, field_modulus
TAU_G2 = (
    FQ2([19394299006376106554626551996044114846855237028623244664226757033024550999552,
         10478571113809844268398751534081669357808742555529167819607714577862447855483]),
    FQ2([9205262336805673656533560220225620941045451042642528799409071118332922267006,
         10552783866161062341197740743287753408530108186218052255509661543860392060676]),
    FQ2.one(),
)
# encoding/constants.go of EigenDA: the root of unity of order 2^28.
ROOT = 19103219067921713944291392827692070036145651957329286315305642004821462161904


def read_points(count):
    data = (pathlib.Path(__file__).parent.parent / "testdata/g1-1024.point").read_bytes()
    points = []
    for at in range(count):
        number = int.from_bytes(data[32 * at:32 * at + 32], "big")
        flags, x = number >> 254, number & ((1 << 254) - 1)
        y = pow(x**3 + 3, (Q + 1) // 4, Q)
        assert y * y % Q == (x**3 + 3) % Q and flags in (2, 3)
        points.append((FQ(x), FQ(max(y, Q - y) if flags == 3 else min(y, Q - y)), FQ(1)))
    return points


SRS = read_points(64)


def commit(coefficients):
    total = Z1
    for point, coefficient in zip(SRS, coefficients):
        total = add(total, multiply(point, coefficient % R))
    return total


def point_bytes(point):
    if point[2] == FQ.zero():
        return bytes(64)
    x, y = normalize(point)
    return int(x).to_bytes(32, "big") + int(y).to_bytes(32, "big")


def encode(payload):
    body = [payload[at:at + 31].ljust(31, b"\0") for at in range(0, len(payload), 31)]
    symbols = [b"\0\0" + len(payload).to_bytes(4, "big") + bytes(26)] + [b"\0" + part for part in body]
    while len(symbols) & (len(symbols) - 1):
        symbols.append(bytes(32))
    return [int.from_bytes(symbol, "big") for symbol in symbols]


def times(one, other):
    product = [0] * (len(one) + len(other) - 1)
    for i, a in enumerate(one):
        for j, c in enumerate(other):
            product[i + j] = (product[i + j] + a * c) % R
    return product


def minus(one, other):
    size = max(len(one), len(other))
    one, other = one + [0] * (size - len(one)), other + [0] * (size - len(other))
    return [(a - c) % R for a, c in zip(one, other)]


def value(polynomial, x):
    return sum(coefficient * pow(x, power, R) for power, coefficient in enumerate(polynomial)) % R


def interpolate(points, values):
    total = [0]
    for own, (x, y) in enumerate(zip(points, values)):
        term = [y]
        for other, point in enumerate(points):
            if other != own:
                inverse = pow(x - point, -1, R)
                term = times(term, [-point * inverse % R, inverse])
        total = minus(total, [-c % R for c in term])
    return total


def divide(dividend, divisor):
    rest, quotient = dividend[:], [0] * max(len(dividend) - len(divisor) + 1, 0)
    inverse = pow(divisor[-1], -1, R)
    for at in reversed(range(len(quotient))):
        quotient[at] = rest[at + len(divisor) - 1] * inverse % R
        for j, c in enumerate(divisor):
            rest[at + j] = (rest[at + j] - quotient[at] * c) % R
    assert not any(rest), "it divides"
    return quotient


def check(left, proof):
    assert pairing(G2, left) == pairing(TAU_G2, proof)


def vector(payload_bytes, single, places):
    payload = bytes((at * at + 7 * at + 3) % 256 for at in range(payload_bytes))
    symbols = encode(payload)
    size = len(symbols)
    omega = pow(ROOT, (1 << 28) // size, R)
    assert pow(omega, size, R) == 1 and (size == 1 or pow(omega, size // 2, R) != 1)
    domain = [pow(omega, at, R) for at in range(size)]
    polynomial = interpolate(domain, symbols)
    commitment = commit(polynomial)

    x, y = domain[single], symbols[single]
    opening = commit(divide(minus(polynomial, [y]), [-x % R, 1]))
    check(add(add(commitment, neg(multiply(G1, y))), multiply(opening, x)), opening)

    points, values = [domain[at] for at in places], [symbols[at] for at in places]
    remainder, vanishing = interpolate(points, values), [1]
    for point in points:
        vanishing = times(vanishing, [-point % R, 1])
    quotient = divide(minus(polynomial, remainder), vanishing)
    first = commit(quotient)
    transcript = b"eigenda-client/joint-opening/v1/" + point_bytes(commitment)
    transcript += size.to_bytes(4, "big") + len(places).to_bytes(4, "big")
    for at in places:
        transcript += at.to_bytes(4, "big") + symbols[at].to_bytes(32, "big")
    transcript += point_bytes(first)
    z = int.from_bytes(keccak.new(digest_bits=256, data=transcript).digest(), "big") % R
    scale, shift = value(vanishing, z), value(remainder, z)
    link = commit(divide(minus(minus(polynomial, [shift]), [scale * c % R for c in quotient]), [-z % R, 1]))
    left = add(commitment, neg(multiply(G1, shift)))
    left = add(add(left, neg(multiply(first, scale))), multiply(link, z))
    check(left, link)
    return {
        "payload_bytes": payload_bytes,
        "symbols": size,
        "blob": b"".join(c.to_bytes(32, "big") for c in polynomial).hex(),
        "commitment": point_bytes(commitment).hex(),
        "index": single,
        "opening": point_bytes(opening).hex(),
        "places": places,
        "joint_opening": (point_bytes(first) + point_bytes(link)).hex(),
    }


assert all(is_on_curve(point, b) for point in SRS)
print(json.dumps([
    vector(1, 0, [0]),
    vector(31, 1, [0, 1]),
    vector(32, 2, [1, 2]),
    vector(93, 3, [0, 3]),
    vector(300, 9, [1, 2, 3, 8, 15]),
    vector(1000, 20, list(range(5, 14))),
    vector(1953, 63, [0, 31, 32, 63]),
], indent=1))
